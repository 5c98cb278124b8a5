package cases

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
)

// versionedStore is the store of a versioned table.
type versionedStore = *store.Versioned[text, text]

// compareVersions compares what a versioned store knows of the past.
func compareVersions(d *tidemarktest.Driver, name string, want WantedStore) error {
	if len(want.AsOfTimes) == 0 {
		return nil
	}
	st, err := tidemarktest.TryStore[versionedStore](d, name)
	if err != nil {
		return err
	}
	var keys []string
	for _, v := range want.AsOf {
		keys = append(keys, show(v.Key))
	}
	for e, err := range st.All() {
		if err != nil {
			return err
		}
		keys = append(keys, show(e.Key))
	}
	slices.Sort(keys)
	var got []VersionEntry
	for _, key := range slices.Compact(keys) {
		for _, at := range want.AsOfTimes {
			v, found, err := st.GetAsOf(Some(key), at)
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			e := VersionEntry{Key: Some(key), AsOf: at, Value: v.Value, TS: v.ValidFrom}
			if v.ValidTo != store.ValidToOpen {
				e.ValidTo = &v.ValidTo
			}
			got = append(got, e)
		}
	}
	slices.SortStableFunc(want.AsOf, func(a, b VersionEntry) int {
		return cmp.Or(strings.Compare(show(a.Key), show(b.Key)), cmp.Compare(a.AsOf, b.AsOf))
	})
	same := func(want, got VersionEntry) bool {
		if want.ValidTo == nil {
			got.ValidTo = nil // the reference does not tell where a version ends, though the format provides for it
		}
		return reflect.DeepEqual(want, got)
	}
	if !slices.EqualFunc(want.AsOf, got, same) {
		return fmt.Errorf("versions of store %s:\n      want %s\n      got  %s", name, JSON(want.AsOf), JSON(got))
	}
	return nil
}
