package checkpointing

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	c := Config{}.WithDefaults()
	require.NoError(t, c.Validate())
	require.False(t, c.Enabled())
	require.Equal(t, Config{
		Timeout: 10 * time.Minute, MaxConcurrent: 1, TolerableFailed: TolerateAny, Retained: 1,
		AlignmentBufferBytes: 16 << 20, IncrementalChainMax: 10, IncrementalBytesRatio: 1, UploadParallel: 4,
	}, c)
	c = Config{Storage: anyStorage{}}.WithDefaults()
	require.True(t, c.Enabled())
	require.Equal(t, c.Storage, c.SavepointStorage)
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	all := Config{
		Interval: time.Millisecond, Timeout: -1, MinPause: -1, MaxConcurrent: 17, TolerableFailed: -3, Retained: -1,
		Retention: 7, AlignedTimeout: -1, AlignmentBufferBytes: -1, IncrementalChainMax: -1, IncrementalBytesRatio: -1,
		UploadBytesPerSecond: -1, UploadParallel: -1, EncryptionKey: []byte("short"),
		OldEncryptionKeys: [][]byte{make([]byte, encryptionKeyBytes), {1}},
	}
	err := all.WithDefaults().validated()
	for _, field := range []string{
		"Interval", "Storage", "Timeout", "MinPause", "MaxConcurrent", "TolerableFailed", "Retained", "Retention",
		"AlignedTimeout", "AlignmentBufferBytes", "IncrementalChainMax", "IncrementalBytesRatio", "UploadBytesPerSecond",
		"UploadParallel", "EncryptionKey", "OldEncryptionKeys",
	} {
		require.ErrorContains(t, err, "Config."+field+" ")
	}
	var one *FieldError
	require.ErrorAs(t, err, &one)
	pause := Config{Storage: anyStorage{}, MinPause: time.Second, MaxConcurrent: 2}
	require.ErrorContains(t, pause.WithDefaults().validated(), "contradicts MinPause")
	late := Config{AlignedTimeout: time.Hour}
	require.ErrorContains(t, late.WithDefaults().validated(), "less than Timeout (10m0s)")
}

func (c Config) validated() error { return c.Validate() }

func TestOverrides(t *testing.T) {
	t.Parallel()
	two, three, yes, ms := 2, 3, true, int64(250)
	o := Overrides{Retained: &two, Unaligned: &yes}.Merge(Overrides{Retained: &three, IntervalMs: &ms})
	c := o.Apply(Config{Interval: time.Hour, MaxConcurrent: 4})
	require.Equal(t, 250*time.Millisecond, c.Interval)
	require.Equal(t, 3, c.Retained)
	require.Equal(t, 4, c.MaxConcurrent)
	require.True(t, c.Unaligned)
	require.Equal(t, Overrides{V: 1, Retained: &two}, o.Merge(Overrides{Reset: true, Retained: &two}))
}
