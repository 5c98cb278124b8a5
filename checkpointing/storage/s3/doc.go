// Package s3 keeps objects in a bucket of Amazon S3, or of anything that speaks its protocol.
//
//	Create ──► Writer ──► parts, some at a time ──Commit──► one object    (small ones: a single request)
//	Open   ──► reader that goes on behind the last byte when a connection breaks
//	             │
//	           aws-sdk-go-v2/service/s3: signatures, retries with backoff ──► the bucket
//
// It is a package of its own so that only those who use it have the client in their programs. Credentials are looked for
// where all of AWS's tools look: environment, shared configuration and profiles, SSO, web identities of Kubernetes, the
// metadata of containers and machines.
//
// # What a bucket needs
//
// The permissions s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucket, s3:AbortMultipartUpload and
// s3:ListBucketMultipartUploads. Conditional writes (If-None-Match: *), which S3 has since 2024. No versioning: deleted
// checkpoints would stay as old versions until a lifecycle rule removes them.
//
// # Goroutines
//
// Those that send the parts of an object, at most [Config.PartsInFlight] for each writer; they end with Commit or Abort.
package s3
