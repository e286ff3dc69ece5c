package artc

import (
	"errors"
	"net/http"

	"braid/store"
)

// family is how a group of actions names what went wrong. Actions say it with
// the codes of the MPU family; rename has the group's own names.
type family struct {
	rename  map[string]code
	retCode bool // errors have RetCode and Description too
}

type code struct {
	status int
	name   string
}

// The families of artc-api.md section 2.1. What no source gives a code for
// keeps MPU's; ResourceNotExist is the only "missing" that EventSub has, and
// InvalidInput is the only code at all that DeleteChannel is known to have.
var (
	mpu      = family{}
	eventSub = family{rename: map[string]code{
		codeInvalid:  {http.StatusBadRequest, "InputInvalid"},
		codeMissing:  {http.StatusBadRequest, "InputInvalid"},
		codeAppID:    {http.StatusBadRequest, "InputInvalid"},
		codeQuota:    {http.StatusBadRequest, "InputInvalid"},
		codeNoSub:    {http.StatusNotFound, "ResourceNotExist"},
		codeInternal: {http.StatusInternalServerError, "ServerError"},
	}}
	deleteChannel = family{rename: map[string]code{
		codeInvalid: {http.StatusBadRequest, "InvalidInput"},
		codeMissing: {http.StatusBadRequest, "InvalidInput"},
		codeAppID:   {http.StatusBadRequest, "InvalidInput"},
	}}
	// asr answers with RetCode and Description (section 9), where 2000 is
	// success: ten times the HTTP status, so its errors are braid's own in the
	// same way. Code and Message are there too, for the SDKs look for them.
	asr = family{retCode: true}
)

// inFamily is an error of an action, with the family that says how to name it.
type inFamily struct {
	family
	error
}

func (e inFamily) Unwrap() error { return e.error }

// failure turns any error into an answer. One that is not meant for the caller
// is logged, and the caller gets to know only that something failed.
func (h *Handler) failure(err error, requestID string) (status int, body reply) {
	var known *apiError
	switch {
	case errors.Is(err, store.ErrAway):
		h.cfg.Log.Warn("artc: the store is away", "requestId", requestID, "err", err)
		known = errAway
	case !errors.As(err, &known):
		h.cfg.Log.Error("artc: request failed", "requestId", requestID, "err", err)
		known = errInternal
	}
	e := *known
	var f inFamily
	errors.As(err, &f) // else MPU's names
	if c, ok := f.rename[e.code]; ok {
		e.status, e.code = c.status, c.name
	}
	body = reply{"Code": e.code, "Message": e.message}
	if f.retCode {
		body["RetCode"], body["Description"] = e.status*10, e.message
	}
	return e.status, body
}
