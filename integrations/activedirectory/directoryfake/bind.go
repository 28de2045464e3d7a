package directoryfake

import (
	"fmt"
	"strconv"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
)

const diagStrongAuth = `00002028: LdapErr: DSID-0C09023F, comment: The server requires binds to turn on integrity checking if SSL\TLS are not already active on the connection, data 0, v4563`

// Reasons for a refused bind, as AD puts them behind "data" (the Windows error
// code in hexadecimal).
const (
	dataNoSuchUser      = "525"
	dataBadPassword     = "52e"
	dataPasswordExpired = "532"
	dataDisabled        = "533"
	dataAccountExpired  = "701"
	dataMustChange      = "773"
	dataLocked          = "775"
)

// bind handles a simple bind.
func (s *session) bind(m message, f fate) (answer, error) {
	if len(m.op.Children) < 3 {
		return answer{}, errProtocol
	}
	version, ok1 := integer(m.op.Children[0], ber.TagInteger)
	name, ok2 := octets(m.op.Children[1])
	if !ok1 || !ok2 {
		return answer{}, errProtocol
	}
	s.bound = nil // a bind starts as anonymous, whatever comes of it (RFC 4511 section 4.2.1)
	op := Op{Kind: "bind", Name: name}
	diagnostic := ""
	auth := m.op.Children[2]
	password, simple := octets(auth)
	switch {
	case f.busy:
		op.Result, diagnostic = codeBusy, diagBusy
	case version != 3:
		op.Result, diagnostic = codeProtocolError, "only version 3 is supported"
	case !simple || auth.ClassType != ber.ClassContext || auth.Tag != 0:
		op.Result, diagnostic = codeAuthMethod, "the simulated directory supports only simple binds"
	case password == "": // an anonymous bind succeeds and allows nothing
	case !s.secure:
		op.Result, diagnostic = codeStrongAuth, diagStrongAuth
	default:
		who, data := s.srv.authenticate(name, password)
		if data != "" {
			op.Result = codeInvalidCreds
			diagnostic = fmt.Sprintf("80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data %s, v4563", data)
		} else {
			s.bound = who
		}
	}
	return answer{bytes: envelope(m.id, outcome(opBindResponse, op.Result, "", diagnostic)), op: op}, nil
}

// authenticate returns the account, or AD's reason for refusing it. Reasons
// that would tell an attacker about an account come only after its password was
// right; a lockout is told before.
func (s *Server) authenticate(name, password string) (*object, string) {
	o := s.dir.account(name)
	if o == nil {
		return nil, dataNoSuchUser
	}
	computed := flags(o, "msds-user-account-control-computed")
	want, ok := s.opts.Passwords[strings.ToLower(o.first("samaccountname"))]
	switch {
	case computed&uacLocked != 0:
		return nil, dataLocked
	case !ok || password != want:
		return nil, dataBadPassword
	case flags(o, "useraccountcontrol")&uacDisabled != 0:
		return nil, dataDisabled
	case s.expired(o):
		return nil, dataAccountExpired
	case o.first("pwdlastset") == "0":
		return nil, dataMustChange
	case computed&uacPasswordExpired != 0:
		return nil, dataPasswordExpired
	}
	return o, ""
}

// expired reports whether the account's end lies in the past.
func (s *Server) expired(o *object) bool {
	v := flags(o, "accountexpires")
	return v > 0 && v != never && v <= FileTime(s.opts.Now())
}

// flags returns an integer attribute, 0 without one.
func flags(o *object, attr string) int64 {
	v, _ := strconv.ParseInt(o.first(attr), 10, 64)
	return v
}
