package measure

import (
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is USER_HZ, in which /proc counts: 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// SelfCPU returns the CPU seconds (user and system) of this process.
func SelfCPU() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return math.NaN()
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// ProcessCPU returns the CPU seconds of another process, NaN if there is none.
func ProcessCPU(pid int) float64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return math.NaN()
	}
	// The second field is the command in brackets and may hold spaces.
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')'):]), " ")
	return sumTicks(strings.Fields(rest), 11, 12)
}

// MachineCPU returns the CPU seconds that the whole machine has spent: all but idle, iowait and steal.
func MachineCPU() float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return math.NaN()
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return sumTicks(strings.Fields(first), 1, 2, 3, 6, 7)
}

func sumTicks(fields []string, indexes ...int) float64 {
	sum := 0.0
	for _, i := range indexes {
		if i >= len(fields) {
			return math.NaN()
		}
		n, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return math.NaN()
		}
		sum += n
	}
	return sum / ticksPerSecond
}

// PeakMB returns the peak resident memory of a process in MB; pid 0 is this one.
func PeakMB(pid int) float64 { return statusMB(pid, "VmHWM:") }

// ResidentMB returns the resident memory of a process in MB; pid 0 is this one.
func ResidentMB(pid int) float64 { return statusMB(pid, "VmRSS:") }

func statusMB(pid int, field string) float64 {
	who := "self"
	if pid != 0 {
		who = strconv.Itoa(pid)
	}
	text, err := os.ReadFile(filepath.Join("/proc", who, "status"))
	if err != nil {
		return math.NaN()
	}
	for l := range strings.Lines(string(text)) {
		if f := strings.Fields(l); len(f) >= 2 && f[0] == field {
			kb, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				break
			}
			return kb / 1024
		}
	}
	return math.NaN()
}

// Load1 returns the load average of the last minute.
func Load1() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return math.NaN()
	}
	first, _, _ := strings.Cut(string(text), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

// DirMB returns the size of the files below a folder in MB, 0 if there is none. Files that vanish meanwhile are
// skipped.
func DirMB(dir string) float64 {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // gone since it was listed
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	if err != nil {
		return math.NaN()
	}
	return float64(sum) / (1 << 20)
}
