package artc

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"braid/media"
	"braid/store"
)

// apiError is an answer that the caller sees.
type apiError struct {
	status  int
	code    string
	message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

// Codes of the gateway: artc-api.md section 2.1, last family. The answers to
// an unsupported method, to an oversized body and to a full nonce memory are
// braid's own: no source states them.
var (
	errAction = &apiError{http.StatusNotFound, "InvalidAction.NotFound",
		"Specified api is not found, please check your url and method."}
	errVersion = &apiError{http.StatusBadRequest, "InvalidVersion",
		"Specified parameter Version is not valid."}
	errAccessKey = &apiError{http.StatusNotFound, "InvalidAccessKeyId.NotFound",
		"Specified access key is not found."}
	errExpired = &apiError{http.StatusBadRequest, "InvalidTimeStamp.Expired",
		"Specified time stamp or date value is expired."}
	errTimeFormat = &apiError{http.StatusBadRequest, "InvalidTimeStamp.Format",
		"Specified time stamp or date value is not well formatted."}
	errNonceUsed = &apiError{http.StatusBadRequest, "SignatureNonceUsed",
		"Specified signature nonce was used already."}
	errMethod = &apiError{http.StatusMethodNotAllowed, "UnsupportedHTTPMethod",
		"This HTTP method is not supported: use GET or POST."}
	errBodySize = &apiError{http.StatusRequestEntityTooLarge, "RequestBodyTooLarge",
		"The request body is longer than 1 MiB."}
	errThrottled = &apiError{http.StatusBadRequest, "Throttling",
		"Request was denied due to request throttling: too many requests in the last 15 minutes."}
	errUnsigned = &apiError{http.StatusBadRequest, "MissingParameter",
		"The request is not signed: send the header Authorization (ACS3-HMAC-SHA256) or the parameter Signature (HMAC-SHA1)."}
	// What official SDKs try again (503, ServiceUnavailable).
	errAway = &apiError{http.StatusServiceUnavailable, "ServiceUnavailable",
		"The request has failed due to a temporary failure of the server: its database cannot be reached. Try again soon."}
	errInternal = &apiError{http.StatusInternalServerError, "InternalError",
		"The request failed inside the server."}
)

func missingPart(name string) *apiError {
	return &apiError{http.StatusBadRequest, "MissingParameter",
		"The input parameter " + name + " is not supplied."}
}

// signatureMismatch keeps the SDKs' literal and ends with the exact string, so
// that they can tell a wrong secret from a wrong string.
func signatureMismatch(stringToSign string) *apiError {
	return &apiError{http.StatusBadRequest, "SignatureDoesNotMatch",
		"Specified signature is not matched with our calculation. server string to sign is:" + stringToSign}
}

// incomplete refuses a signature before it is computed.
func incomplete(format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, "IncompleteSignature",
		"The request signature does not conform to the standard: " + fmt.Sprintf(format, args...) + "."}
}

// Codes of the MPU family, which actions use to say what went wrong whatever
// their own family (families.go): section 2.1. Those marked own are braid's own
// names; the missing ones among them are 404 as the only documented "missing"
// code of the API is (ResourceNotExist of EventSub).
const (
	codeInvalid   = "InvalidParam"
	codeMissing   = "MissingParam"
	codeAppID     = "InvalidAppId"
	codeDenied    = "OperationDenied"
	codeInternal  = "InternalError"
	codeNoChannel = "ChannelNotExist" // own
	codeNoTask    = "TaskNotExist"    // own
	codeNoSub     = "SubNotExist"     // own
	codeQuota     = "QuotaExceeded"   // own
	codeNotYet    = "NotSupported"    // own
)

func invalidParam(format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, codeInvalid, fmt.Sprintf(format, args...)}
}

func missingParam(name string) *apiError {
	return &apiError{http.StatusBadRequest, codeMissing, name + " is missing"}
}

func invalidAppID(format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, codeAppID, fmt.Sprintf(format, args...)}
}

func noApp(field, app string) *apiError {
	return invalidAppID("%s: there is no application %s", field, quote(app))
}

func appDisabled(app string) *apiError {
	return &apiError{http.StatusForbidden, codeDenied, fmt.Sprintf("AppId: the application %s is disabled", quote(app))}
}

func channelNotExist(channel, why string) *apiError {
	return &apiError{http.StatusNotFound, codeNoChannel,
		fmt.Sprintf("ChannelId: channel %s does not exist%s", quote(channel), why)}
}

func taskNotExist(task string) *apiError {
	return &apiError{http.StatusNotFound, codeNoTask, fmt.Sprintf("TaskId: there is no task %s", quote(task))}
}

// subError is what the callbacks say about a subscription that should be there;
// "" is the one that an application has for stream relay.
func subError(err error, id string) error {
	missing := &apiError{http.StatusNotFound, codeNoSub, "AppId: the application has no subscription"}
	if id != "" {
		missing.message = fmt.Sprintf("SubscribeId: there is no subscription %s", quote(id))
	}
	return serviceError(err, missing)
}

func notSupported(what string) *apiError {
	return &apiError{http.StatusBadRequest, codeNotYet, what + " is not supported yet"}
}

// serviceError turns what the part that does the work says into an answer;
// notFound is what media.ErrNotFound means for this call.
func serviceError(err error, notFound *apiError) error {
	switch {
	case errors.Is(err, store.ErrAway): // whatever else it says
		return err
	case errors.Is(err, media.ErrNotFound):
		return notFound
	case errors.Is(err, media.ErrExists):
		return invalidParam("%s", words(err, media.ErrExists))
	case errors.Is(err, media.ErrLimit):
		return &apiError{http.StatusBadRequest, codeQuota, words(err, media.ErrLimit)}
	case errors.Is(err, media.ErrInvalid):
		return invalidParam("%s", words(err, media.ErrInvalid))
	}
	return err
}

// words is an error's text without the sentinel at its end.
func words(err, sentinel error) string {
	return strings.TrimSuffix(err.Error(), ": "+sentinel.Error())
}
