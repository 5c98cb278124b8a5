package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
)

// stored is what the directory of checkpoints looks like.
type stored struct {
	files []string // names below the directory, those of writers at work as well
	// newest is the newest checkpoint that has a manifest, begun the newest that has any file; 0 if there is none.
	newest, begun int64
	manifests     int
}

var folderName = regexp.MustCompile(`/chk-(\d+)/`)

func (c *chaos) look() stored {
	var s stored
	err := filepath.WalkDir(c.life.Storage, func(file string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && e.IsDir() {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(c.life.Storage, file)
		if err != nil {
			return err
		}
		s.files = append(s.files, name)
		if m := folderName.FindStringSubmatch(name); m != nil {
			id, _ := strconv.ParseInt(m[1], 10, 64) // digits
			s.begun = max(s.begun, id)
			if strings.HasSuffix(name, "/MANIFEST.json") {
				s.manifests++
				s.newest = max(s.newest, id)
			}
		}
		return nil
	})
	require.NoError(c.t, err)
	return s
}

// await polls the directory, and goes on if nothing comes: perhaps the storage is too bad for it.
func (c *chaos) await(what string, within time.Duration, come func(now stored) bool) {
	for deadline := time.Now().Add(within); !come(c.look()); {
		if time.Now().After(deadline) {
			c.did["no "+what]++
			return
		}
		<-time.After(time.Millisecond)
	}
}

// moment waits for a random moment, or for one in the course of a checkpoint.
func (c *chaos) moment() {
	before := c.look()
	const soon = time.Second
	switch c.r.IntN(6) {
	case 0:
		c.await("file of the next checkpoint", soon, func(now stored) bool { return now.begun > before.begun })
	case 1:
		c.await("next manifest", soon, func(now stored) bool { return now.newest > before.newest })
	case 2: // somebody is publishing
		c.await("manifest being written", soon, func(now stored) bool {
			return slices.ContainsFunc(now.files, func(name string) bool { return strings.Contains(name, "MANIFEST.json~") })
		})
	case 3: // clean-up has begun
		c.await("deletion", soon, func(now stored) bool {
			return slices.ContainsFunc(before.files, func(name string) bool { return !slices.Contains(now.files, name) })
		})
	default:
		<-time.After(ms(c.r.IntN(300)))
	}
	<-time.After(ms(c.r.IntN(12)))
}

// disturb lets something happen.
func (c *chaos) disturb() {
	i := c.r.IntN(len(c.instances))
	switch draw := c.r.IntN(12); {
	case draw < 3: // of those that coordinate
		for j, in := range c.instances {
			if in.coordinates.Load() {
				i = j
			}
		}
		c.did["coordinator killed"]++
		c.kill(i)
		c.pause()
		c.begin(i)
	case draw < 5:
		c.did["worker killed"]++
		c.kill(i)
		c.pause()
		c.begin(i)
	case draw < 7:
		c.did["machine lost"]++
		c.kill(i)
		c.wipe(i)
		c.pause()
		c.begin(i)
	case draw < 9:
		c.damage()
	case draw < 10: // it is slow, or believes to be what it is no longer
		c.did["paused"]++
		c.instances[i].signal(syscall.SIGSTOP)
		c.pause()
		c.instances[i].signal(syscall.SIGCONT)
	default:
		c.loseAll()
	}
}

// pause is nothing, a moment, or longer than a short session: then tasks move, and the coordinator with them.
func (c *chaos) pause() {
	switch c.r.IntN(4) {
	case 0:
		<-time.After(ms(c.r.IntN(300)))
	case 1:
		if c.life.SessionMs == shortSessionMs {
			<-time.After(ms(c.life.SessionMs + c.r.IntN(400)))
		}
	}
}

// kill is kill -9.
func (c *chaos) kill(i int) {
	c.alive()
	c.instances[i].kill()
}

// alive sees that no process has ended that nobody has ended.
func (c *chaos) alive() {
	c.t.Helper()
	for _, i := range c.instances {
		select {
		case <-i.ended:
			log := i.lines()
			require.FailNow(c.t, "a process has ended by itself", "instance %s (pid %d): %s", i.name, i.cmd.Process.Pid,
				log[max(0, len(log)-1):])
		default:
		}
	}
}

// wipe takes the disk of a process that was killed. The embedded broker may count a static member twice that comes back
// as another one, so there its identity stays.
func (c *chaos) wipe(i int) {
	dir := filepath.Join(c.stateOf(i), c.app)
	if !c.cluster.Real() {
		dir = filepath.Join(dir, "tasks")
	}
	require.NoError(c.t, os.RemoveAll(dir))
}

// damage flips a bit of a file that belongs to a checkpoint, or cuts it short: mostly the newest, as that is what a
// start would use.
func (c *chaos) damage() (name string) {
	now := c.look()
	names := slices.DeleteFunc(now.files, func(name string) bool { return strings.Contains(name, "~") })
	m, err := checkpointing.Load(c.t.Context(), dir.New(c.life.Storage), checkpointing.CheckpointFolder(c.app, now.newest))
	if err == nil && c.r.IntN(4) > 0 {
		names = []string{checkpointing.ManifestName(m.Location)}
		for _, f := range m.Files() {
			names = append(names, f.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	name = names[c.r.IntN(len(names))]
	c.damaged[name] = true // also if it has just gone: who reads it meanwhile may see anything
	how := "bit flipped"
	if c.r.IntN(3) == 0 {
		how = "file cut short"
	}
	f, err := os.OpenFile(filepath.Join(c.life.Storage, name), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	require.NoError(c.t, err)
	defer func() { require.NoError(c.t, f.Close()) }()
	info, err := f.Stat()
	require.NoError(c.t, err)
	if info.Size() == 0 {
		return ""
	}
	at := c.r.Int64N(info.Size())
	if how == "file cut short" {
		require.NoError(c.t, f.Truncate(at))
	} else {
		var b [1]byte
		_, err = f.ReadAt(b[:], at)
		require.NoError(c.t, err)
		b[0] ^= 1 << c.r.IntN(8)
		_, err = f.WriteAt(b[:], at)
		require.NoError(c.t, err)
	}
	c.did[how]++
	if m != nil && name == checkpointing.ManifestName(m.Location) {
		if _, err = checkpointing.Load(c.t.Context(), dir.New(c.life.Storage), m.Location); err == nil {
			return "" // the bit was one that makes no difference: a letter of a name is a capital now
		}
	}
	return name
}

// loseAll kills all processes, damages the checkpoint that their successors would restore from, and takes their disks.
// None of it may be used.
func (c *chaos) loseAll() {
	c.did["all lost"]++
	c.alive()
	for i := range c.instances {
		c.instances[i].kill()
	}
	for i := range c.instances {
		c.wipe(i)
	}
	newest := c.look().newest
	name := c.damage()
	for i := range c.instances {
		c.begin(i)
	}
	for _, i := range c.instances {
		i.awaitRunning()
	}
	if folder := checkpointing.CheckpointFolder(c.app, newest); strings.HasPrefix(name, folder+"/") {
		c.mustNotLoad(newest, strings.TrimPrefix(name, folder+"/"))
	}
}

// mustNotLoad sees that nobody was restored from a damaged file: the damage was noticed, and said to be there.
func (c *chaos) mustNotLoad(id int64, file string) {
	task, _, _ := strings.Cut(file, "-") // of a manifest: none, and every task is concerned
	for _, i := range c.instances {
		for _, line := range i.lines() {
			ofIt := strings.Contains(line, fmt.Sprintf("snapshot=%d ", id)) &&
				(file == "MANIFEST.json" || strings.Contains(line, "task="+task+" "))
			if !ofIt {
				continue
			}
			require.NotContains(c.t, line, `msg="snapshot loaded"`, "%s of checkpoint %d is damaged", file, id)
			if strings.Contains(line, `msg="snapshot cannot be used`) {
				c.did["fallbacks"]++
			}
		}
	}
}
