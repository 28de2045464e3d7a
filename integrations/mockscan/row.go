package mockscan

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Row returns the detection as the row that Splunk's webhook sends: fields of
// the Common Information Model (data model Malware), the scanner's own, and
// Splunk's internal ones. Values are strings or lists of strings.
func (d Detection) Row() map[string]any {
	epoch := strconv.FormatInt(d.Time.Unix(), 10)
	row := map[string]any{
		"detection_id": d.ID, "rule": d.Rule, "severity": d.Severity, "signature": d.Signature, "category": d.Category,
		"action": d.Action, "dest": d.Host, "user": d.User, "src_ip": d.SrcIP, "vendor_product": "MockScan Endpoint",
		"file_name": d.File.Name, "file_path": d.path(), "md5": d.File.MD5, "file_hash": d.File.SHA256,
		"tag": []string{"attack", "malware"},

		"index": "endpoint", "source": "tcp:5514", "sourcetype": "mockscan:detection", "host": "collector01", "splunk_server": "splunk01",
		"eventtype": "mockscan_detection", "linecount": "1", "punct": "--T::.Z__=--_=\"_:___\"", "timestartpos": "0", "timeendpos": "24",
		"date_hour": strconv.Itoa(d.Time.Hour()), "date_mday": strconv.Itoa(d.Time.Day()), "date_minute": strconv.Itoa(d.Time.Minute()),
		"date_month": strings.ToLower(d.Time.Month().String()), "date_second": strconv.Itoa(d.Time.Second()),
		"date_wday": strings.ToLower(d.Time.Weekday().String()), "date_year": strconv.Itoa(d.Time.Year()), "date_zone": "0",

		"_time": epoch + fmt.Sprintf(".%03d", d.Time.Nanosecond()/1_000_000), "_indextime": epoch, "_raw": d.Raw(), "_serial": "0",
		"_si": []string{"splunk01", "endpoint"}, "_sourcetype": "mockscan:detection", "_kv": "1",
	}
	for name, value := range map[string]string{"url": d.Link.URL, "url_domain": d.Link.Domain, "dest_ip": d.Link.IP} {
		if value != "" {
			row[name] = value
		}
	}
	return row
}

// Rows returns the rows that the search of the detection found: its own, which the
// webhook sends, and those of the same file on other hosts a little earlier. Most
// searches found a few, some one, some many.
func (d Detection) Rows() []map[string]any {
	all := []map[string]any{d.Row()}
	_, number, _ := strings.Cut(strings.TrimPrefix(d.ID, "MS-"), "-")
	n, err := strconv.Atoi(number)
	if err != nil {
		return all
	}
	for i := range []int{3, 64, 2, 1, 5, 1, 4}[n%7] - 1 {
		other := d
		other.ID = fmt.Sprintf("%s-%d", d.ID, i+2)
		other.Host = fmt.Sprintf("WS-%04d", 500+(7*n+13*i)%400)
		other.SrcIP = fmt.Sprintf("10.21.%d.%d", 1+n%8, 10+i)
		other.Action = []string{"blocked", "quarantined", "allowed"}[i%3]
		other.Time = d.Time.Add(-time.Duration(i+1) * 7 * time.Second)
		all = append(all, other.Row())
	}
	return all
}

// Raw returns the scanner's log line.
func (d Detection) Raw() string {
	return fmt.Sprintf("%s mockscan id=%s rule=%q sev=%s sig=%q host=%s user=%q src=%s action=%s file=%q md5=%s sha256=%s",
		d.Time.UTC().Format("2006-01-02T15:04:05.000Z"), d.ID, d.Rule, d.Severity, d.Signature, d.Host, d.User, d.SrcIP, d.Action,
		d.path(), d.File.MD5, d.File.SHA256)
}

// path returns where the file lies; a rule looks at a folder of its own.
func (d Detection) path() string {
	if d.File.Name == "" {
		return ""
	}
	for _, r := range rules() {
		if r.name == d.Rule {
			return strings.ReplaceAll(r.folder, "%s", d.User) + d.File.Name
		}
	}
	return d.File.Name
}

// SID returns the ID of the search job that Splunk's scheduler would give the
// alert: one job for each detection.
func (d Detection) SID() string {
	return fmt.Sprintf("scheduler__admin__search__mockscan_at_%d_%s", d.Time.Unix(), d.ID)
}
