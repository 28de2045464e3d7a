package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel/internal/store"
)

// ID is the path of one thing.
type ID struct {
	ID string `path:"id" pattern:"^[1-9][0-9]{0,18}$" doc:"The id" example:"42"`
}

// number returns the id; one that is too large for any row names nothing.
func (i ID) number() (int64, error) {
	id, err := strconv.ParseInt(i.ID, 10, 64)
	if err != nil {
		return 0, problem(http.StatusNotFound, "there is nothing of this id")
	}
	return id, nil
}

// Page asks for a part of a list, the newest first.
type Page struct {
	Before string `query:"before" pattern:"^[1-9][0-9]{0,18}$" doc:"Only what is older than this id; a page's next"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"At most so many"`
}

// Between narrows a list to a time.
type Between struct {
	Since time.Time `query:"since" doc:"Only what was received then or later (RFC 3339)" example:"2026-11-23T00:00:00Z"`
	Until time.Time `query:"until" doc:"Only what was received before (RFC 3339)" example:"2026-11-24T00:00:00Z"`
}

// Resolve refuses an interval in which nothing can lie, for Huma.
func (b Between) Resolve(huma.Context) []error {
	if !b.Since.IsZero() && !b.Until.IsZero() && !b.Until.After(b.Since) {
		return []error{&huma.ErrorDetail{Location: "query.until", Message: "want a time after since"}}
	}
	return nil
}

// ask returns the page with one row more than asked for, which tells whether
// another page follows.
func (p Page) ask() (store.Page, error) {
	q := store.Page{Limit: p.Limit + 1}
	if p.Before != "" {
		before, err := parseQueryID("before", p.Before)
		if err != nil {
			return q, err
		}
		q.Before = before
	}
	return q, nil
}

func parseQueryID(name, text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, problem(http.StatusUnprocessableEntity, "the request is not as /openapi.json describes it", Fault{Location: "query." + name, Message: "the number is too large"})
	}
	return id, nil
}

// cut returns the views of at most limit rows, and the id to ask for the page
// after them, "" if there is none.
func cut[R, V any](rows []R, limit int, id func(R) int64, view func(R) V) (views []V, next string) {
	views = make([]V, 0, min(len(rows), limit))
	for i, r := range rows {
		if i == limit {
			next = formatID(id(rows[i-1]))
			break
		}
		views = append(views, view(r))
	}
	return views, next
}
