package config

import (
	"io/fs"
	"os"
	"time"

	"picket/internal/tlsfile"
)

// checkTLSFiles reads what the connections will read, and looks whether it is valid now.
func (l *loader) checkTLSFiles(section string, t TLS) {
	now := time.Now()
	if t.CAFile != "" {
		certs, err := tlsfile.Authorities(t.CAFile)
		last := time.Time{}
		for _, c := range certs {
			if c.NotAfter.After(last) {
				last = c.NotAfter
			}
		}
		if err != nil {
			l.problem(section+".ca_file", "", "%v", err)
		} else if day := expired(last, now); day != "" {
			l.problem(section+".ca_file", "renew it", "every certificate in %s has expired, the last on %s", t.CAFile, day)
		}
	}
	if t.CertFile == "" || t.KeyFile == "" {
		return
	}
	pair, err := tlsfile.Pair(t.CertFile, t.KeyFile)
	if err != nil {
		l.problem(section+".cert_file", "", "%v", err)
		return
	}
	if day := expired(pair.Leaf.NotAfter, now); day != "" {
		l.problem(section+".cert_file", "renew it", "the certificate in %s expired on %s", t.CertFile, day)
	}
	if info, err := os.Stat(t.KeyFile); err == nil {
		l.openToAll(section+".key_file", t.KeyFile, info.Mode())
	}
}

// openToAll warns of a secret that the machine's other users may read.
func (l *loader) openToAll(path, file string, mode fs.FileMode) {
	if mode.IsRegular() && mode.Perm()&0o007 != 0 {
		l.warning(path, "chmod o= "+file, "every user of this machine may read %s", file)
	}
}
