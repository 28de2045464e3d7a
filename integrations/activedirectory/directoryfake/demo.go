package directoryfake

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The demo's domain and the read-only account for Funnel in it.
const (
	DemoBaseDN   = "DC=corp,DC=example,DC=test"
	DemoBindName = "svc-funnel@corp.example.test"
	DemoPassword = "demo-only-Lookup-7" // opens nothing but the simulated directory
)

// DemoPasswords returns the passwords of the demo's accounts that may bind.
func DemoPasswords() map[string]string { return map[string]string{"svc-funnel": DemoPassword} }

// Demo returns [DemoAt] for the present.
func Demo(workstations ...string) []Entry { return DemoAt(time.Now(), workstations...) }

// DemoAt returns a small domain as it looks at the given time. The people are
// the classical placeholders; each account shows one thing that a responder
// wants to know:
//
//	jdoe        normal              jstiles     locked out
//	rroe        her manager         rmiles      disabled, has left
//	mmajor      head of finance     jroe        password expired
//	ppoe        new, never logged on, must change the password
//	jpublic     no logon for 200 days
//	lloe        contractor, account expired
//	adm-jdoe    administrator account of jdoe, a domain administrator
//	svc-backup  service account that may read every file, its password never expires
//	svc-funnel  read-only account of Funnel
//
// and the computers FIN-LAPTOP-07$, DC1$ and the given workstations: of different
// ages, the people's in turn, every seventh disabled.
func DemoAt(now time.Time, workstations ...string) []Entry {
	d := &demo{now: now.UTC().Truncate(time.Second), rid: 1104}
	d.container(DemoBaseDN, "domainDNS")
	for _, ou := range []string{"People", "Administrators", "Service Accounts", "Groups", "Computers"} {
		d.container("OU="+ou+","+DemoBaseDN, "organizationalUnit")
	}
	const day = 24 * time.Hour
	finance, it := "Finance", "Information Technology"
	mary := d.user(person{sam: "mmajor", name: "Mary Major", title: "Head of Finance", dept: finance, employee: "10002", city: "Springfield", age: 3200 * day, logon: 9 * day, set: 40 * day})
	richard := d.user(person{sam: "rroe", name: "Richard Roe", title: "Accounting Manager", dept: finance, manager: mary, employee: "10017", city: "Springfield", age: 2100 * day, logon: 6 * day, set: 75 * day})
	jane := d.user(person{sam: "jdoe", name: "Jane Doe", title: "Senior Accountant", dept: finance, manager: richard, employee: "10042", city: "Springfield", age: 1400 * day, logon: 3 * day, set: 21 * day})
	stiles := d.user(person{sam: "jstiles", name: "John Stiles", title: "Payroll Clerk", dept: finance, manager: richard, employee: "10058", city: "Shelbyville", age: 800 * day, logon: 5 * day, set: 30 * day, locked: 20 * time.Minute})
	miles := d.user(person{sam: "rmiles", name: "Richard Miles", title: "Accountant", dept: finance, manager: richard, employee: "10031", city: "Springfield", age: 1900 * day, logon: 61 * day, set: 120 * day, uac: uacDisabled})
	noreen := d.user(person{sam: "nnoe", name: "Norma Noe", title: "IT Operations Lead", dept: it, employee: "10009", city: "Springfield", age: 2600 * day, logon: 2 * day, set: 50 * day})
	jroe := d.user(person{sam: "jroe", name: "Jane Roe", title: "Service Desk Analyst", dept: it, manager: noreen, employee: "10063", city: "Springfield", age: 700 * day, logon: 12 * day, set: 95 * day, passwordExpired: true})
	paula := d.user(person{sam: "ppoe", name: "Paula Poe", title: "Systems Engineer", dept: it, manager: noreen, employee: "10091", city: "Springfield", age: 1 * day, mustChange: true})
	public := d.user(person{sam: "jpublic", name: "John Public", title: "Account Executive", dept: "Sales", employee: "10023", city: "Ogdenville", age: 1700 * day, logon: 200 * day, set: 260 * day, uac: uacNeverExpires})
	larry := d.user(person{sam: "lloe", name: "Larry Loe", title: "Contractor", dept: it, manager: noreen, employee: "C-0412", city: "Ogdenville", age: 300 * day, logon: 45 * day, set: 60 * day, expired: 14 * day})
	admin := d.user(person{sam: "adm-jdoe", name: "Jane Doe (Administrator)", ou: "Administrators", title: "Finance Systems Administrator", dept: finance, manager: noreen, age: 900 * day, logon: 8 * day, set: 21 * day})
	backup := d.user(person{sam: "svc-backup", name: "Backup Service", ou: "Service Accounts", title: "Service account", dept: it, manager: noreen, age: 2400 * day, logon: 1 * day, set: 1500 * day, uac: uacNeverExpires})
	funnel := d.user(person{sam: "svc-funnel", name: "Funnel Lookup Service", ou: "Service Accounts", title: "Service account", dept: it, manager: noreen, age: 90 * day, logon: 1 * day, set: 90 * day, uac: uacNeverExpires})
	d.computer("FIN-LAPTOP-07", "Windows 11 Enterprise", "10.0 (22631)", "Finance, second floor", jane, 2*day, uacWorkstation)
	d.computer("DC1", "Windows Server 2022 Datacenter", "10.0 (20348)", "Domain controller", "", 1*day, uacDomainController)
	owners := []string{jane, richard, noreen, mary, stiles, public}
	for i, name := range workstations {
		uac := int64(uacWorkstation)
		if i%7 == 6 {
			uac |= uacDisabled
		}
		d.computer(name, "Windows 11 Enterprise", "10.0 (22631)", "Workstation", owners[i%len(owners)], time.Duration(1+i%12)*day, uac)
	}

	everybody := []string{mary, richard, jane, stiles, noreen, jroe, paula, public, larry}
	financeDN := d.group("Finance", mary, richard, jane, stiles, miles)
	itDN := d.group("IT Operations", noreen, jroe, paula, larry)
	d.group("All Staff", append([]string{financeDN, itDN}, everybody...)...)
	d.group("VPN Users", richard, jane, public, larry)
	d.group("Payments Approvers", mary, richard)
	d.group("Service Desk", jroe)
	d.group("Server Administrators", admin, noreen)
	d.group("Directory Readers", funnel)
	d.known("Domain Users", SID(513)) // everybody's primary group: nobody is a member
	admins := d.known("Domain Admins", SID(512), admin)
	d.known("Administrators", BuiltinSID(544), admins)
	d.known("Backup Operators", BuiltinSID(551), backup)
	return d.entries
}

// demo collects the entries.
type demo struct {
	now     time.Time
	rid     uint32
	entries []Entry
}

// person is what differs between the demo's accounts; durations are ages.
type person struct {
	sam, name, ou, title, dept, manager, employee, city string
	uac                                                 int64
	age, logon, set, locked, expired                    time.Duration
	passwordExpired, mustChange                         bool
}

// add appends an entry with what every object has.
func (d *demo) add(dn string, attrs map[string][]string) string {
	attrs["objectGUID"] = []string{GUID(dn)}
	if attrs["whenCreated"] == nil {
		attrs["whenCreated"] = []string{GeneralizedTime(d.now.Add(-3650 * 24 * time.Hour))}
	}
	d.entries = append(d.entries, Entry{DN: dn, Attributes: attrs})
	return dn
}

func (d *demo) container(dn, class string) {
	d.add(dn, map[string][]string{"objectClass": {"top", class}})
}

// category returns the value of objectCategory for a class.
func category(class string) []string {
	return []string{"CN=" + class + ",CN=Schema,CN=Configuration," + DemoBaseDN}
}

func (d *demo) sid() []string {
	d.rid++
	return []string{SID(d.rid)}
}

// ago returns the FILETIME of that long ago, "0" for never.
func (d *demo) ago(age time.Duration) []string {
	if age == 0 {
		return []string{"0"}
	}
	return []string{strconv.FormatInt(FileTime(d.now.Add(-age)), 10)}
}

func (d *demo) user(p person) string {
	ou := p.ou
	if ou == "" {
		ou = "People"
	}
	var computed int64
	if p.locked != 0 {
		computed |= uacLocked
	}
	if p.passwordExpired || p.mustChange {
		computed |= uacPasswordExpired
	}
	a := map[string][]string{
		"objectClass":        {"top", "person", "organizationalPerson", "user"},
		"objectCategory":     category("Person"),
		"cn":                 {p.name},
		"name":               {p.name},
		"displayName":        {p.name},
		"sAMAccountName":     {p.sam},
		"sAMAccountType":     {"805306368"},
		"userPrincipalName":  {p.sam + "@corp.example.test"},
		"title":              {p.title},
		"department":         {p.dept},
		"company":            {"Example Corp"},
		"primaryGroupID":     {"513"},
		"objectSid":          d.sid(),
		"whenCreated":        {GeneralizedTime(d.now.Add(-p.age))},
		"userAccountControl": {strconv.FormatInt(uacNormal|p.uac, 10)},
		"pwdLastSet":         d.ago(p.set),
		"lockoutTime":        d.ago(p.locked),
		"accountExpires":     {strconv.FormatInt(never, 10)},
		"logonCount":         {"0"},

		"msDS-User-Account-Control-Computed": {strconv.FormatInt(computed, 10)},
	}
	if ou == "People" {
		a["mail"] = []string{p.sam + "@example.test"}
	}
	if p.employee != "" {
		a["employeeID"] = []string{p.employee}
	}
	if p.city != "" {
		a["l"] = []string{p.city}
	}
	if p.manager != "" {
		a["manager"] = []string{p.manager}
	}
	if p.logon != 0 { // absent until the first logon
		a["lastLogonTimestamp"] = d.ago(p.logon)
		a["logonCount"] = []string{"12"}
	}
	if p.expired != 0 {
		a["accountExpires"] = d.ago(p.expired)
	}
	return d.add("CN="+p.name+",OU="+ou+","+DemoBaseDN, a)
}

func (d *demo) computer(name, system, version, description, owner string, logon time.Duration, uac int64) {
	dns := strings.ToLower(name) + ".corp.example.test"
	a := map[string][]string{
		"dNSHostName": {dns}, "operatingSystem": {system}, "operatingSystemVersion": {version}, "description": {description},
		"servicePrincipalName": {"HOST/" + name, "HOST/" + dns}, "lastLogonTimestamp": d.ago(logon), "pwdLastSet": d.ago(11 * 24 * time.Hour), "logonCount": {"340"},
		"primaryGroupID": {"515"},
	}
	if uac == uacDomainController {
		a["primaryGroupID"] = []string{"516"}
	}
	if owner != "" {
		a["managedBy"] = []string{owner}
	}
	for attribute, values := range map[string][]string{
		"objectClass":        {"top", "person", "organizationalPerson", "user", "computer"},
		"objectCategory":     category("Computer"),
		"cn":                 {name},
		"sAMAccountName":     {name + "$"},
		"sAMAccountType":     {"805306369"},
		"userAccountControl": {strconv.FormatInt(uac, 10)},
		"objectSid":          d.sid(),
	} {
		a[attribute] = values
	}
	d.add("CN="+name+",OU=Computers,"+DemoBaseDN, a)
}

// group adds a group and the back links of its members, which may be groups.
func (d *demo) group(name string, members ...string) string {
	dn := fmt.Sprintf("CN=%s,OU=Groups,%s", name, DemoBaseDN)
	for _, m := range members {
		i := slices.IndexFunc(d.entries, func(e Entry) bool { return e.DN == m })
		d.entries[i].Attributes["memberOf"] = append(d.entries[i].Attributes["memberOf"], dn)
	}
	return d.add(dn, map[string][]string{
		"objectClass":    {"top", "group"},
		"objectCategory": category("Group"),
		"cn":             {name},
		"sAMAccountName": {name},
		"groupType":      {"-2147483646"}, // global security group
		"member":         members,
		"objectSid":      d.sid(),
	})
}

// known adds a group that every domain has, with its well-known SID.
func (d *demo) known(name, sid string, members ...string) string {
	dn := d.group(name, members...)
	d.entries[len(d.entries)-1].Attributes["objectSid"] = []string{sid}
	return dn
}
