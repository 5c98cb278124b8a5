package kafka

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

var (
	errSessionExpired = errors.New("no answer from the coordinator for the session timeout: the group gives our tasks " +
		"away")
	errRebalance = errors.New("the group is rebalancing") // only between joinAndSync and its parts
)

// lostError says that we are no longer a member and may join afresh. Everything we owned belongs to others.
type lostError struct {
	Group string
	Err   error
}

func (e *lostError) Error() string {
	return fmt.Sprintf("kafka: group %q: membership lost: %v", e.Group, e.Err)
}
func (e *lostError) Unwrap() error { return e.Err }

func isLost(err error) bool {
	var e *lostError
	return errors.As(err, &e)
}

func isFenced(err error) bool { return errors.Is(err, sarama.ErrFencedInstancedId) }

func keepsMemberID(err error) bool { return errors.Is(err, sarama.ErrIllegalGeneration) }

func (g *Group) lost(err error) error { return &lostError{Group: g.conf.GroupID, Err: err} }

// verdict sorts an error code of the group protocol: nil to retry, a lostError to join afresh, errRebalance to join
// again, anything else ends Run.
func (g *Group) verdict(what string, code sarama.KError) error {
	switch code {
	case sarama.ErrRebalanceInProgress:
		return errRebalance
	case sarama.ErrUnknownMemberId, sarama.ErrIllegalGeneration, sarama.ErrGroupIDNotFound:
		return g.lost(code)
	default:
		if retriableCode(code) {
			return nil
		}
	}
	return fmt.Errorf("kafka: group %q: %s: %w%s", g.conf.GroupID, what, code, g.hint(code))
}

// hint says what the reader can do.
func (g *Group) hint(code sarama.KError) string {
	switch code {
	case sarama.ErrFencedInstancedId:
		return fmt.Sprintf(": another process uses the instance id %q: give every instance its own state directory and "+
			"instance id", g.conf.InstanceID)
	case sarama.ErrGroupAuthorizationFailed:
		return fmt.Sprintf(": grant this principal the ACL Read on group %q", g.conf.GroupID)
	case sarama.ErrTopicAuthorizationFailed:
		return ": grant this principal the ACL Read on the source topics"
	case sarama.ErrInconsistentGroupProtocol:
		return ": clients of another kind are in this group: choose an application id of your own, or stop them first"
	case sarama.ErrInvalidSessionTimeout:
		return fmt.Sprintf(": the broker refuses a session timeout of %v: see its group.min.session.timeout.ms and "+
			"group.max.session.timeout.ms", g.conf.SessionTimeout)
	case sarama.ErrGroupMaxSizeReached:
		return ": raise the broker's group.max.size or run fewer instances"
	default:
		return ""
	}
}
