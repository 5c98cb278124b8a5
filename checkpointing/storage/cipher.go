package storage

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// The format of an encrypted object: docs/format/encrypted-object.md.
const (
	cipherMagic   = "TMKE"
	cipherVersion = 1
	keyIDBytes    = 8
	saltBytes     = 32
	headerBytes   = len(cipherMagic) + 1 + keyIDBytes + saltBytes
	chunkBytes    = 64 << 10
	tagBytes      = 16
	// KeyBytes is the length of a key: AES-256.
	KeyBytes = 32
	keyInfo  = "tidemark encrypted object 1"
)

// ErrKey says that an object is encrypted with a key that the [Cipher] does not have, or that it is not encrypted.
var ErrKey = errors.New("the key is not known")

// ErrDamaged says that an encrypted object was cut short, changed, or put together from others.
var ErrDamaged = errors.New("the object is truncated or damaged")

// Cipher encrypts and decrypts objects: AES-256-GCM in chunks of 64 KiB, under a key of the object's own that is
// derived from yours. A Cipher is immutable and safe for concurrent use.
type Cipher struct {
	current key
	all     map[[keyIDBytes]byte]key
}

type key struct {
	id     [keyIDBytes]byte
	secret []byte
}

// NewCipher makes a [Cipher] of keys of 32 random bytes each. The first one encrypts; all of them decrypt, so a key is
// changed by putting the new one in front, and dropping the old one when nothing retained needs it.
func NewCipher(current []byte, older ...[]byte) (*Cipher, error) {
	c := &Cipher{all: make(map[[keyIDBytes]byte]key)}
	for i, secret := range append([][]byte{current}, older...) {
		if len(secret) != KeyBytes {
			return nil, fmt.Errorf("storage: encryption key %d has %d bytes, want %d random ones", i+1, len(secret), KeyBytes)
		}
		k := key{secret: bytes.Clone(secret)}
		sum := sha256.Sum256(append([]byte("tidemark key id 1\x00"), secret...))
		copy(k.id[:], sum[:])
		c.all[k.id] = k
		if i == 0 {
			c.current = k
		}
	}
	return c, nil
}

// KeyID names the key that encrypts: 16 hexadecimal digits that tell nothing of it.
func (c *Cipher) KeyID() string { return hex.EncodeToString(c.current.id[:]) }

// StoredBytes returns how long the encrypted form of n bytes is.
func StoredBytes(n int64) int64 {
	chunks := max(1, (n+chunkBytes-1)/chunkBytes)
	return int64(headerBytes) + n + chunks*tagBytes
}

// plainBytes is the inverse of StoredBytes; -1 if no encrypted object has this length.
func plainBytes(stored int64) int64 {
	body := stored - int64(headerBytes)
	chunks := (body + chunkBytes + tagBytes - 1) / (chunkBytes + tagBytes)
	if n := body - chunks*tagBytes; body > 0 && n >= 0 {
		return n
	}
	return -1
}

// Encrypt returns a writer that encrypts to w. Close writes the end, without which the object is taken for truncated;
// it does not close w.
func (c *Cipher) Encrypt(w io.Writer) (io.WriteCloser, error) {
	header := make([]byte, 0, headerBytes)
	header = append(append(header, cipherMagic...), cipherVersion)
	header = append(header, c.current.id[:]...)
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return nil, fmt.Errorf("storage: encrypt: %w", err)
	}
	header = append(header, salt...)
	aead, err := c.current.aead(salt)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(header); err != nil {
		return nil, err
	}
	return &encrypter{
		w: w, chunker: chunker{aead: aead, header: header}, plain: make([]byte, 0, chunkBytes),
		sealed: make([]byte, 0, chunkBytes+tagBytes),
	}, nil
}

// aead derives the object's own key, so that a counter is a safe nonce however many objects there are.
func (k key) aead(salt []byte) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, k.secret, salt, keyInfo, KeyBytes)
	if err != nil {
		return nil, fmt.Errorf("storage: derive a key: %w", err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	return cipher.NewGCM(block)
}

// chunker numbers the chunks of an object. The nonce of a chunk is its number and whether it is the last one, so that
// chunks cannot be left out, exchanged or cut off without notice.
type chunker struct {
	aead   cipher.AEAD
	header []byte // authenticated with each chunk
	number uint64
}

func (c *chunker) nonce(last bool) []byte {
	c.number++
	return nonceOf(c.number-1, last)
}

func nonceOf(number uint64, last bool) []byte {
	nonce := make([]byte, 12)
	binary.BigEndian.PutUint64(nonce[3:], number)
	if last {
		nonce[11] = 1
	}
	return nonce
}

type encrypter struct {
	chunker
	w      io.Writer
	plain  []byte // less than a chunk, or a whole one that may be the last
	sealed []byte
	err    error
}

func (e *encrypter) Write(p []byte) (n int, err error) {
	for len(p) > 0 && e.err == nil {
		if len(e.plain) == chunkBytes {
			e.flush(false)
			continue
		}
		m := min(len(p), chunkBytes-len(e.plain))
		e.plain = append(e.plain, p[:m]...)
		n, p = n+m, p[m:]
	}
	return n, e.err
}

func (e *encrypter) flush(last bool) {
	e.sealed = e.aead.Seal(e.sealed[:0], e.nonce(last), e.plain, e.header)
	_, e.err = e.w.Write(e.sealed)
	e.plain = e.plain[:0]
}

func (e *encrypter) Close() error {
	if e.err != nil {
		return e.err
	}
	e.flush(true)
	err := e.err
	if err == nil {
		e.err = ErrUsed
	}
	return err
}

// Decrypt returns a reader of what was encrypted. It fails with [ErrKey] or [ErrDamaged] before it returns a byte
// that was not written. It reads r to its end.
func (c *Cipher) Decrypt(r io.Reader) io.Reader {
	return &decrypter{cipher: c, r: r}
}

type decrypter struct {
	chunker
	cipher *Cipher
	r      io.Reader
	sealed []byte // a chunk, and the first byte behind it if there is one
	plain  []byte // what Read has not returned yet
	buf    []byte
	more   bool // a chunk follows
	err    error
}

func (d *decrypter) Read(p []byte) (int, error) {
	for len(d.plain) == 0 && d.err == nil {
		d.err = d.next()
	}
	if len(d.plain) == 0 {
		return 0, d.err
	}
	n := copy(p, d.plain)
	d.plain = d.plain[n:]
	return n, nil
}

// next decrypts a chunk, the header first.
func (d *decrypter) next() error {
	if d.header == nil {
		if err := d.open(); err != nil {
			return err
		}
	} else if !d.more {
		return io.EOF
	}
	held := copy(d.sealed[:1], d.sealed[chunkBytes+tagBytes:])
	if !d.more {
		held = 0
	}
	n, err := io.ReadFull(d.r, d.sealed[held:])
	n += held
	d.more = err == nil
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if n > chunkBytes+tagBytes {
		n = chunkBytes + tagBytes
	}
	d.plain, err = d.aead.Open(d.buf[:0], d.nonce(!d.more), d.sealed[:n], d.header)
	if err != nil {
		return fmt.Errorf("storage: decrypt: %w (chunk %d)", ErrDamaged, d.number)
	}
	return nil
}

func (d *decrypter) open() error {
	header := make([]byte, headerBytes)
	n, err := io.ReadFull(d.r, header)
	if n >= len(cipherMagic) && string(header[:len(cipherMagic)]) != cipherMagic {
		return fmt.Errorf("storage: decrypt: %w: the object is not encrypted", ErrKey)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("storage: decrypt: %w (%d bytes)", ErrDamaged, n)
	}
	if err != nil {
		return err
	}
	rest := header[len(cipherMagic):]
	if rest[0] != cipherVersion {
		return fmt.Errorf("storage: decrypt: the object has format %d, this program knows %d", rest[0], cipherVersion)
	}
	id, salt := [keyIDBytes]byte(rest[1:1+keyIDBytes]), rest[1+keyIDBytes:]
	k, ok := d.cipher.all[id]
	if !ok {
		return fmt.Errorf("storage: decrypt: %w: the object needs the key %x", ErrKey, id)
	}
	if d.aead, err = k.aead(salt); err != nil {
		return err
	}
	d.header, d.buf = header, make([]byte, 0, chunkBytes)
	d.sealed = make([]byte, chunkBytes+tagBytes+1)
	return nil
}
