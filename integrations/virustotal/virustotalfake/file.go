package virustotalfake

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"path"
	"strings"
	"time"
)

// File is a file that a server knows.
type File struct {
	Name   string
	MD5    string
	SHA1   string
	SHA256 string
	Type   string // such as "Win32 EXE"
	Size   int64
	Label  string // what the engines call the threat; empty for none

	Malicious, Suspicious, Harmless, Undetected int // engines that say so
}

// Demo returns the files that the demo's alerts are about, in the order of
// MockScan's rules. Their contents are made up, except for EICAR's test file,
// which every scanner knows.
func Demo() []File {
	files := []File{
		{Name: "cdump64.exe", Type: "Win32 EXE", Size: 1_355_264, Label: "hacktool.creddump/passview", Malicious: 58, Suspicious: 1, Undetected: 12},
		{Name: "invoice_0417.docm", Type: "Office Open XML Document", Size: 48_213, Label: "trojan.macro/drop", Malicious: 31, Suspicious: 2, Undetected: 30},
		{Name: "restore_my_files.txt", Type: "Text", Size: 1_904, Label: "ransom.notedrop", Malicious: 9, Undetected: 52},
		{Name: "remote_helpdesk.exe", Type: "Win32 EXE", Size: 6_291_968, Label: "riskware.remoteadmin", Malicious: 2, Undetected: 67},
		{Name: "setup_helper.exe", Type: "Win32 EXE", Size: 2_914_816, Undetected: 70},
	}
	for i := range files {
		f := &files[i]
		content := []byte("contents of Funnel's demo file " + f.Name)
		f.MD5, f.SHA1, f.SHA256 = fmt.Sprintf("%x", md5.Sum(content)), fmt.Sprintf("%x", sha1.Sum(content)), fmt.Sprintf("%x", sha256.Sum256(content))
	}
	return append(files, File{
		Name: "eicar.com", Type: "Text", Size: 68, Label: "virus.eicar/test", Malicious: 64, Undetected: 3,
		MD5: "44d88612fea8a8f36de82e1278abb02f", SHA1: "3395856ce81f2b7382dee72602f798b642f14140",
		SHA256: "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f",
	})
}

// object returns the file as an object of API v3: the attributes that a real
// one has and an integration may read.
func (f *File) object(now time.Time) map[string]any {
	day := now.UTC().Truncate(24 * time.Hour)
	attributes := map[string]any{
		"type_description": f.Type, "type_tag": strings.ToLower(strings.ReplaceAll(f.Type, " ", "-")), "type_extension": strings.TrimPrefix(path.Ext(f.Name), "."),
		"names": []string{f.Name}, "meaningful_name": f.Name, "size": f.Size, "md5": f.MD5, "sha1": f.SHA1, "sha256": f.SHA256,
		"reputation": -f.Malicious, "times_submitted": 3 + f.Malicious, "unique_sources": 2 + f.Malicious/2, "downloadable": true, "tags": []string{},
		"first_submission_date": seen(now, 40), "last_submission_date": seen(now, 2), "last_analysis_date": seen(now, 1), "last_modification_date": seen(now, 1),
		"total_votes": map[string]int{"harmless": 0, "malicious": f.Malicious / 10},
		"last_analysis_stats": map[string]int{
			"malicious": f.Malicious, "suspicious": f.Suspicious, "harmless": f.Harmless, "undetected": f.Undetected,
			"type-unsupported": 4, "timeout": 1, "confirmed-timeout": 0, "failure": 0,
		},
		"last_analysis_results": f.results(day),
	}
	if f.Label != "" {
		attributes["popular_threat_classification"] = map[string]any{"suggested_threat_label": f.Label}
	}
	return object("file", "files", f.SHA256, attributes)
}

// results returns what each of the made-up engines says.
func (f *File) results(day time.Time) map[string]any {
	results := map[string]any{}
	for _, vote := range []struct {
		category string
		engines  int
	}{{"malicious", f.Malicious}, {"suspicious", f.Suspicious}, {"harmless", f.Harmless}, {"undetected", f.Undetected}} {
		for range vote.engines {
			engine := fmt.Sprintf("Engine%02d", len(results)+1)
			var result any
			if vote.category == "malicious" || vote.category == "suspicious" {
				result = f.Label
			}
			results[engine] = map[string]any{
				"category": vote.category, "engine_name": engine, "engine_version": "1.0", "result": result,
				"method": "blacklist", "engine_update": day.AddDate(0, 0, -1).Format("20060102"),
			}
		}
	}
	return results
}
