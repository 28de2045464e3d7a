package intake

import "github.com/funnelsec/funnel"

// sources is what Reload can change.
type sources struct {
	byName  map[string]Source
	observe func(mapped []funnel.Observable, text string) []funnel.Observable
}

// Reload replaces the sources and Options.Observe. A delivery that is being read
// is taken as its source was when it began.
func (in *Intake) Reload(list []Source, observe func(mapped []funnel.Observable, text string) []funnel.Observable) {
	s := &sources{byName: map[string]Source{}, observe: observe}
	for _, source := range list {
		s.byName[source.Name] = source
	}
	in.sources.Store(s)
}

// Repeated reports whether the sender of a source's deliveries repeats one that
// was answered with 503. Of a source that there is not, nothing is lost.
func (in *Intake) Repeated(source string) bool {
	s, ok := in.sources.Load().byName[source]
	return !ok || s.Repeated
}
