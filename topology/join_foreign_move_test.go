package topology

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMoveSubscriptions(t *testing.T) {
	move := func(want string) MovePartition {
		return func(leftKey []byte, was int32) (int32, error) {
			require.Equal(t, want, string(leftKey))
			require.Equal(t, int32(7), was)
			return 2, nil
		}
	}
	row := hashOf([]byte("abc"))
	for _, s := range []subscription[string]{
		{"k", row, 7, subscribe}, {"", row, 7, subscribeAnswered}, {"key", rowHash{}, 7, unsubscribeAnswered},
	} {
		data, err := requests.Append(nil, s)
		require.NoError(t, err)
		before := hex.EncodeToString(data)
		moved, now, err := MoveSubscription(data, move(s.key))
		require.NoError(t, err)
		require.Equal(t, int32(2), now)
		require.Equal(t, before, hex.EncodeToString(data))
		back, err := requests.Decode(moved)
		require.NoError(t, err)
		s.partition = 2
		require.Equal(t, s, back)
	}
	key, err := storedKeys.Append(nil, subscriptionKey[string, string]{"ab", "k"})
	require.NoError(t, err)
	value, err := subscriberSerde{}.Append(nil, subscriber{row, 7})
	require.NoError(t, err)
	moved, err := MoveSubscriber(key, value, move("k"))
	require.NoError(t, err)
	back, err := subscriberSerde{}.Decode(moved)
	require.NoError(t, err)
	require.Equal(t, subscriber{row, 2}, back)

	refused := errors.New("refused")
	refuse := func([]byte, int32) (int32, error) { return 0, refused }
	_, err = MoveSubscriber(key, value, refuse)
	require.ErrorIs(t, err, refused)
	for n := range value {
		_, err = MoveSubscriber(key, value[:n], move("k"))
		require.Error(t, err)
		_, _, err = MoveSubscription(value[:n], refuse)
		require.Error(t, err)
	}
	_, err = MoveSubscriber(key[:4], value, move("k"))
	require.Error(t, err)
}
