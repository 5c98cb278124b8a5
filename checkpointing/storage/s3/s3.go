package s3

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
)

// deletesInFlight bounds the requests of one Delete. S3's request for many at once is not understood everywhere.
const deletesInFlight = 8

// Storage keeps objects in a bucket. Make one with [New].
type Storage struct {
	config  Config
	retryer aws.Retryer
	buffers sync.Pool // of *[]byte with capacity PartBytes
	mu      struct {
		sync.Mutex
		client *s3.Client
	}
}

var (
	_ storage.Storage     = (*Storage)(nil)
	_ storage.RangeReader = (*Storage)(nil)
	_ storage.Sweeper     = (*Storage)(nil)
)

// New returns a storage. It does no I/O: that the bucket exists is found out when it is used.
func New(c Config) (*Storage, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &Storage{config: c, retryer: newRetryer(c.Attempts)}, nil
}

// Open returns the storage of a URL: see [ParseURL].
func Open(url string) (*Storage, error) {
	c, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	return New(c)
}

// String returns the URL of the bucket and the prefix.
func (s *Storage) String() string {
	u := "s3://" + s.config.Bucket
	if s.config.Prefix != "" {
		u += "/" + s.config.Prefix
	}
	if s.config.Endpoint != "" {
		u += "?endpoint=" + s.config.Endpoint
	}
	return u
}

// Create begins an object. Up to [Config.PartBytes] of it stay in memory until Commit, which sends them in one
// request; more is sent in parts on the way.
func (s *Storage) Create(ctx context.Context, name string, o storage.CreateOptions) (storage.Writer, error) {
	client, err := s.begin(ctx, name)
	if err != nil {
		return nil, s.fail("create", name, err)
	}
	if o.Exclusive {
		// Commit decides; this only spares the work of writing what cannot win.
		_, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.config.Bucket, Key: s.key(name)})
		if err = s.fail("create", name, err); err == nil {
			err = &storage.Error{Storage: s.String(), Op: "create", Name: name, Err: storage.ErrExists}
		}
		if !errors.Is(err, storage.ErrNotFound) {
			return nil, err
		}
	}
	return newWriter(ctx, s, client, name, o.Exclusive), nil
}

// Open reads an object.
func (s *Storage) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	client, err := s.begin(ctx, name)
	if err != nil {
		return nil, s.fail("open", name, err)
	}
	r := s.newReader(ctx, client, name)
	if err := r.open(); err != nil {
		return nil, s.fail("open", name, err)
	}
	return r, nil
}

// List yields the objects in the order of their names.
func (s *Storage) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		client, err := s.beginPrefix(ctx, prefix)
		if err != nil {
			yield(storage.Object{}, s.fail("list", prefix, err))
			return
		}
		pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{
			Bucket: &s.config.Bucket, Prefix: s.key(prefix),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(storage.Object{}, s.fail("list", prefix, err))
				return
			}
			for _, o := range page.Contents {
				name := s.name(aws.ToString(o.Key))
				if storage.CheckName(name) != nil {
					continue // folders that tools create, and what others keep in the bucket
				}
				found := storage.Object{Name: name, Bytes: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)}
				if !yield(found, nil) {
					return
				}
			}
		}
	}
}

// Delete removes objects.
func (s *Storage) Delete(ctx context.Context, names ...string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(deletesInFlight)
	for _, name := range names {
		client, err := s.begin(ctx, name)
		if err != nil {
			return errors.Join(s.fail("delete", name, err), g.Wait())
		}
		g.Go(func() error {
			_, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.config.Bucket, Key: s.key(name)})
			if err = s.fail("delete", name, err); errors.Is(err, storage.ErrNotFound) {
				return nil
			}
			return err
		})
	}
	return g.Wait()
}

// Sweep aborts uploads.
func (s *Storage) Sweep(ctx context.Context, prefix string, abandoned func(string) bool) ([]string, error) {
	client, err := s.beginPrefix(ctx, prefix)
	if err != nil {
		return nil, s.fail("sweep", prefix, err)
	}
	var swept []string
	pages := s3.NewListMultipartUploadsPaginator(client, &s3.ListMultipartUploadsInput{
		Bucket: &s.config.Bucket, Prefix: s.key(prefix),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return swept, s.fail("sweep", prefix, err)
		}
		for _, u := range page.Uploads {
			name := s.name(aws.ToString(u.Key))
			if storage.CheckName(name) != nil || !strings.HasPrefix(name, prefix) || !abandoned(name) {
				continue
			}
			_, err := client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
				Bucket: &s.config.Bucket, Key: u.Key, UploadId: u.UploadId,
			})
			if api := s.fail("sweep", name, err); api != nil && !gone(err) {
				return swept, api
			}
			swept = append(swept, name)
		}
	}
	return swept, nil
}

func (s *Storage) begin(ctx context.Context, name string) (*s3.Client, error) {
	if err := storage.CheckName(name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.client(ctx)
}

func (s *Storage) beginPrefix(ctx context.Context, prefix string) (*s3.Client, error) {
	if err := storage.CheckPrefix(prefix); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.client(ctx)
}

// key is the name of an object in the bucket, name the inverse.
func (s *Storage) key(name string) *string {
	if s.config.Prefix != "" {
		name = s.config.Prefix + "/" + name
	}
	return &name
}

func (s *Storage) name(key string) string {
	if s.config.Prefix == "" {
		return key
	}
	name, ok := strings.CutPrefix(key, s.config.Prefix+"/")
	if !ok {
		return ""
	}
	return name
}
