package metrics

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// ticksPerSecond is USER_HZ, in which Linux tells CPU times on every platform
// that Go runs on (proc_pid_stat(5)).
const ticksPerSecond = 100

// processUse is the resident memory of a process in bytes and the CPU time that
// it took, as Linux tells; 0 where it does not, or when the process is gone.
func processUse(pid int) (rss, cpu float64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	return parseStat(b)
}

// parseStat reads a line of /proc/PID/stat. The program's name, in parentheses,
// may hold spaces and parentheses itself.
func parseStat(b []byte) (rss, cpu float64) {
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	number := func(i int) float64 { // i as in proc_pid_stat(5), where the name is 2
		if i-3 >= len(fields) {
			return 0
		}
		n, err := strconv.ParseUint(string(fields[i-3]), 10, 64)
		if err != nil {
			return 0
		}
		return float64(n)
	}
	return number(24) * float64(os.Getpagesize()), (number(14) + number(15)) / ticksPerSecond
}
