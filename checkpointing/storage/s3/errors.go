package s3

import (
	"context"
	"errors"
	"io"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
)

// fail says where an error happened, what it means and whether it may pass.
func (s *Storage) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	e := &storage.Error{Storage: s.String(), Op: op, Name: name, Err: err}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return e
	}
	e.Transient = s.retryer.IsErrorRetryable(err)
	// Of requests for objects a conflict says that somebody else is at work there.
	if res, ok := errors.AsType[*awshttp.ResponseError](err); ok && res.HTTPStatusCode() == http.StatusConflict {
		e.Transient = true
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return e
	}
	switch api.ErrorCode() {
	case "NoSuchKey", "NotFound":
		e.Err = storage.ErrNotFound
	case "InvalidRange":
		e.Err, e.Transient = io.ErrUnexpectedEOF, false
	case "PreconditionFailed":
		e.Err = storage.ErrExists
	case "NoSuchUpload":
		e.Transient = true // somebody cleaned up: begin anew
	case "NoSuchBucket":
		e.Hint = "create the bucket " + s.config.Bucket
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		e.Hint = "set the Region to that of the bucket"
	case "AccessDenied", "Forbidden", "AllAccessDisabled":
		e.Hint = "give these credentials the permissions that the documentation of package s3 lists"
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken":
		e.Hint = "renew the credentials"
	case "RequestTimeTooSkewed":
		e.Hint = "set the clock of this machine"
	case "NotImplemented":
		e.Hint = "this service lacks a part of S3 that is needed: conditional writes, or uploads in parts"
	}
	return e
}
