package storage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
)

// RangeDecrypter reads parts of an encrypted object: of each only the chunks that it lies in. Make one with
// [Cipher.DecryptRanges]. Safe for concurrent use.
type RangeDecrypter struct {
	cipher *Cipher
	stored int64
	read   func(ctx context.Context, offset int64, p []byte) error

	mu struct {
		sync.Mutex
		chunks *chunker // nil before the header was read
	}
}

// DecryptRanges returns a reader of parts of an object that is stored bytes long in its encrypted form, of which read
// reads parts. Its errors are [ErrKey], [ErrDamaged] and those of read.
func (c *Cipher) DecryptRanges(
	stored int64, read func(ctx context.Context, offset int64, p []byte) error,
) *RangeDecrypter {
	return &RangeDecrypter{cipher: c, stored: stored, read: read}
}

// ReadRange fills p with what was encrypted, from offset on. Beyond its end it fails with [io.ErrUnexpectedEOF].
func (d *RangeDecrypter) ReadRange(ctx context.Context, offset int64, p []byte) error {
	total := plainBytes(d.stored)
	if total < 0 {
		return fmt.Errorf("storage: decrypt: %w (%d bytes)", ErrDamaged, d.stored)
	}
	if offset < 0 || offset+int64(len(p)) > total {
		return fmt.Errorf("storage: decrypt: %d bytes at %d of %d: %w", len(p), offset, total, io.ErrUnexpectedEOF)
	}
	if len(p) == 0 {
		return nil
	}
	c, err := d.open(ctx)
	if err != nil {
		return err
	}
	const sealedBytes = chunkBytes + tagBytes
	first, last := offset/chunkBytes, (offset+int64(len(p))-1)/chunkBytes
	from := int64(headerBytes) + first*sealedBytes
	sealed := make([]byte, min(int64(headerBytes)+(last+1)*sealedBytes, d.stored)-from)
	if err := d.read(ctx, from, sealed); err != nil {
		return err
	}
	end := (total+chunkBytes-1)/chunkBytes - 1 // the last chunk of the object
	skip := offset - first*chunkBytes
	for number := first; number <= last; number++ {
		one := sealed[:min(len(sealed), sealedBytes)]
		sealed = sealed[len(one):]
		plain, err := c.aead.Open(one[:0], nonceOf(uint64(number), number == end), one, c.header)
		if err != nil || int64(len(plain)) < skip {
			return fmt.Errorf("storage: decrypt: %w (chunk %d)", ErrDamaged, number)
		}
		p = p[copy(p, plain[skip:]):]
		skip = 0
	}
	if len(p) > 0 {
		return fmt.Errorf("storage: decrypt: %w (%d bytes are missing)", ErrDamaged, len(p))
	}
	return nil
}

// open reads the header, once.
func (d *RangeDecrypter) open(ctx context.Context) (*chunker, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.chunks != nil {
		return d.mu.chunks, nil
	}
	header := make([]byte, headerBytes)
	if err := d.read(ctx, 0, header); err != nil {
		return nil, err
	}
	opened := decrypter{cipher: d.cipher, r: bytes.NewReader(header)}
	if err := opened.open(); err != nil {
		return nil, err
	}
	d.mu.chunks = &opened.chunker
	return d.mu.chunks, nil
}
