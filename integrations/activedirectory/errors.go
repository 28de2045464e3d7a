package activedirectory

import (
	"context"
	"crypto/tls"
	"errors"
	"regexp"

	"github.com/go-ldap/ldap/v3"

	"github.com/funnelsec/funnel"
)

// badPassword is the reason of a refused bind that counts towards a lockout.
const badPassword = "52e"

// reason explains a Windows error code that AD puts behind "data" when it
// refuses a bind (MS-ERREF 2.2).
func reason(data string) string {
	switch data {
	case "525":
		return "there is no such account"
	case badPassword:
		return "the name or the password is wrong"
	case "530":
		return "the account may not log on at this time"
	case "531":
		return "the account may not log on from this machine"
	case "532":
		return "the account's password has expired"
	case "533":
		return "the account is disabled"
	case "701":
		return "the account has expired"
	case "773":
		return "the account must change its password first"
	case "775":
		return "the account is locked out"
	default:
		return "no reason that is known here"
	}
}

var dataCode = regexp.MustCompile(`\bdata ([0-9a-f]{1,8})\b`)

// refusal is a bind that was refused for its password.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// explain turns an error into what happened and what to do. Of the directory's
// own text only the reason code of a refused bind is repeated.
func (c *Client) explain(ctx context.Context, doing string, err error) error {
	where := doing + " the directory at " + c.addr
	var known *funnel.Error
	var cert *tls.CertificateVerificationError
	var answer *ldap.Error
	switch {
	case ctx.Err() != nil:
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			return funnel.Errorf(funnel.Unavailable, "%s: no answer within the deadline: %w", where, context.DeadlineExceeded)
		}
		return funnel.Errorf(funnel.Unavailable, "%s: %w", where, ctx.Err())
	case errors.As(err, &known): // of the dialer: its code and its time to come back stand
		return &funnel.Error{Code: known.Code, Message: where + ": " + known.Error(), RetryAt: known.RetryAt, Narrow: known.Narrow, Err: err}
	case errors.As(err, &cert):
		return funnel.Errorf(funnel.Unavailable, "%s: its certificate is not trusted, set ca_file to the authority that signed it, or url to a name that it holds: %w", where, err)
	case lost(err) && errors.As(err, &answer) && answer.Packet != nil: // a code that no directory has; the text is the directory's own
		return funnel.Errorf(funnel.Unavailable, "%s: %w", where, errMalformed)
	case lost(err):
		return funnel.Errorf(funnel.Unavailable, "%s: %w", where, err)
	}
	errors.As(err, &answer)
	code := answer.ResultCode
	name := ldap.LDAPResultCodeMap[code]
	switch code {
	case ldap.LDAPResultInvalidCredentials:
		data := "none"
		if m := dataCode.FindStringSubmatch(answer.Err.Error()); m != nil {
			data = m[1]
		}
		text := where + ": " + reason(data) + " (account " + c.bindName + ", AD data " + data + ")"
		if data == badPassword || data == "none" {
			return &funnel.Error{Code: funnel.Unauthorized, Message: text, Err: &refusal{text}}
		}
		return funnel.Errorf(funnel.Unauthorized, "%s", text)
	case ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultStrongAuthRequired, ldap.LDAPResultInappropriateAuthentication,
		ldap.LDAPResultAuthMethodNotSupported, ldap.LDAPResultConfidentialityRequired:
		return funnel.Errorf(funnel.Unauthorized, "%s: the account %s may not do that (LDAP code %d, %s)", where, c.bindName, code, name)
	case ldap.LDAPResultNoSuchObject:
		return funnel.Errorf(funnel.NotFound, "%s: there is no object of that name; check base_dn (LDAP code %d)", where, code)
	case ldap.LDAPResultReferral:
		return funnel.Errorf(funnel.NotFound, "%s: the name belongs to another domain; check base_dn and url (LDAP code %d)", where, code)
	case ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultNamingViolation:
		return funnel.Errorf(funnel.Invalid, "%s: the name is malformed; check base_dn (LDAP code %d)", where, code)
	case ldap.LDAPResultOperationsError, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultSizeLimitExceeded,
		ldap.LDAPResultAdminLimitExceeded, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultUnwillingToPerform,
		ldap.LDAPResultServerDown, ldap.LDAPResultTimeout, ldap.LDAPResultConnectError, ldap.LDAPResultOther:
		return funnel.Errorf(funnel.Unavailable, "%s: it cannot answer now (LDAP code %d, %s)", where, code, name)
	default:
		return funnel.Errorf(funnel.Internal, "%s: unexpected LDAP code %d, %s", where, code, name)
	}
}

// paused returns why the password is not tried at the moment, nil if it may be.
func (c *Client) paused() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil || !c.env.Clock().Before(c.until) {
		return nil
	}
	return funnel.Errorf(funnel.Unauthorized, "%w; not tried again before %s, so that the account is not locked", c.refused, c.until.UTC().Format("15:04 UTC"))
}

// note remembers that the password was refused, or that it was accepted.
func (c *Client) note(err error) {
	var r *refusal
	refused := errors.As(err, &r)
	if err != nil && !refused {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused = nil; refused {
		c.refused, c.until = r, c.env.Clock().Add(bindPause)
	}
}
