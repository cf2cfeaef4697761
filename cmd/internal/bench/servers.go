package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// proc is a process of the measurement.
type proc struct {
	name string
	pid  int
	cmd  *exec.Cmd // nil: started by somebody else
	log  string    // file with what it said
	done chan struct{}
	err  error // once done is closed
}

// start runs picket with a configuration; what it says goes to a file.
func (w *world) start(name string, args ...string) (*proc, error) {
	p := &proc{name: name, log: filepath.Join(w.dir, name+".log"), done: make(chan struct{})}
	f, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p.cmd = exec.Command(w.opt.picket, append([]string{"--config", w.config}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.pid = p.cmd.Process.Pid
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	w.stops = append(w.stops, p.stop)
	return p, nil
}

// stop asks the process to end, and makes it after a while.
func (p *proc) stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
	case <-time.After(8 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// ended is why the process has ended, if it has.
func (p *proc) ended() error {
	select {
	case <-p.done:
		b, _ := os.ReadFile(p.log)
		return fmt.Errorf("%s ended: %v\n%s", p.name, p.err, b[max(0, len(b)-2000):])
	default:
		return nil
	}
}

// cpu is the CPU time that the process has used, in user and kernel mode.
func (p *proc) cpu() (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return 0, err
	}
	return parseCPU(raw)
}

// parseCPU reads the 14th and 15th field of /proc/*/stat, which are in hundredths of a second.
func parseCPU(stat []byte) (time.Duration, error) {
	i := bytes.LastIndexByte(stat, ')') // the name before it may hold anything
	fields := strings.Fields(string(stat[i+1:]))
	if i < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("read CPU time: %q", stat)
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	kernel, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+kernel) * (time.Second / 100), errors.Join(err1, err2)
}

// peak is the largest resident size so far, in bytes.
func (p *proc) peak() int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// startKafka starts a node of Apache Kafka.
func (w *world) startKafka() (*proc, error) {
	dir := filepath.Join(w.dir, "kafka")
	port, err := w.freePorts(2)
	if err != nil {
		return nil, err
	}
	w.broker = "127.0.0.1:" + strconv.Itoa(port)
	if out, err := exec.Command(w.opt.kafka, "start", "--dir", dir, "--port", strconv.Itoa(port), "--with", strconv.Itoa(os.Getpid())).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("start Kafka: %w\n%s", err, out)
	}
	w.stops = append(w.stops, func() {
		if out, err := exec.Command(w.opt.kafka, "stop", "--dir", dir).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "stop Kafka: %v\n%s", err, out)
		}
	})
	raw, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	return &proc{name: "kafka", pid: pid}, err
}

// startEngine starts the ClickHouse engine in a process of its own.
func (w *world) startEngine(ctx context.Context) (*proc, error) {
	port, err := w.freePorts(1)
	if err != nil {
		return nil, err
	}
	w.clickhouse = "http://127.0.0.1:" + strconv.Itoa(port)
	if err := w.writeConfig(); err != nil {
		return nil, err
	}
	p, err := w.start("engine", "embedded", "--only", "clickhouse", "--clickhouse", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	return p, w.until(ctx, time.Minute, soon, "the engine answers", p, func() (bool, error) {
		got, err := get(ctx, w.clickhouse+"/?query=SELECT+1")
		return err == nil && strings.TrimSpace(got) == "1", nil
	})
}

// command runs picket to its end.
func (w *world) command(args ...string) error {
	out, err := exec.Command(w.opt.picket, append([]string{"--config", w.config}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("picket %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// soon is how often until looks for what does not cost much to look for.
const soon = 50 * time.Millisecond

// until polls cond, and gives up early when p ends.
func (w *world) until(ctx context.Context, within, every time.Duration, what string, p *proc, cond func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ok, err := cond(); ok || err != nil {
			return err
		}
		if err := p.ended(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %s", within, what)
		case <-tick.C:
		}
	}
}

var client = sync.OnceValue(func() *http.Client { return &http.Client{Timeout: 30 * time.Second} })

func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := client().Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", url, res.Status, b.String())
	}
	return b.String(), nil
}

// freePorts finds n ports in a row, below the range that the kernel deals out.
func (w *world) freePorts(n int) (int, error) {
	w.port = max(w.port, 13000+os.Getpid()%500*10)
next:
	for w.port < 32000 {
		first := w.port
		w.port += n // never dealt twice
		for p := first; p < first+n; p++ {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p))
			if errors.Is(err, syscall.EADDRINUSE) {
				continue next
			}
			if err != nil {
				return 0, err
			}
			l.Close()
		}
		return first, nil
	}
	return 0, errors.New("no free port below 32000")
}
