package tlsfile

import (
	"crypto/tls"
	"log/slog"
	"sync"
	"time"
)

// Watch tells of new files that cannot be read while those of before are in use: once for each thing that is
// wrong, and once when they can be read again. All clients of the same files may share one.
type Watch struct {
	Section string // of the configuration
	Log     *slog.Logger
	Read    interface{ Set(float64) } // 1 if the files could be read the last time, else 0; may be nil

	mu    sync.Mutex
	wrong string // guarded by mu: what was told; "" while nothing is
}

// saw takes how a reading went, and what is in use after it.
func (w *Watch) saw(err error, conf *tls.Config) {
	if w == nil {
		return
	}
	wrong, read := "", 1.0
	if err != nil {
		wrong, read = err.Error(), 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if wrong == w.wrong {
		return
	}
	w.wrong = wrong
	if w.Read != nil {
		w.Read.Set(read)
	}
	if err == nil {
		w.Log.Info(w.Section + ": the files can be read again, and new connections use them")
		return
	}
	attrs := []any{"err", err}
	if get := conf.GetClientCertificate; get != nil {
		if pair, err := get(nil); err == nil {
			attrs = append(attrs, "certificate_valid_until", pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	w.Log.Warn(w.Section+": the new files cannot be read, and those of before stay in use", attrs...)
}
