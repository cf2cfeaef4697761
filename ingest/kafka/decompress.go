package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"
)

// errTooLarge stops a decompression bomb: 53 KB of zstd can unfold to hundreds of MiB.
var errTooLarge = errors.New("unpacks to more than the limit")

// unpacker decompresses batches up to a limit. One goroutine owns it.
type unpacker struct {
	limit int
	zstd  *zstd.Decoder // made when first needed: it costs about 1 MiB
}

// unpack returns memory that is never reused (for no compression: b itself).
func (u *unpacker) unpack(codec int8, b []byte) ([]byte, error) {
	switch c := compress.Compression(codec); c {
	case compress.None:
		if len(b) > u.limit {
			return nil, u.tooLarge()
		}
		return b, nil
	case compress.Zstd:
		return u.unzstd(b)
	case compress.Gzip, compress.Snappy, compress.Lz4:
		r := c.Codec().NewReader(bytes.NewReader(b))
		defer r.Close()
		out := bytes.NewBuffer(make([]byte, 0, min(4*len(b), u.limit)+bytes.MinRead))
		if _, err := out.ReadFrom(io.LimitReader(r, int64(u.limit)+1)); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", c, err)
		}
		if out.Len() > u.limit {
			return nil, u.tooLarge()
		}
		return out.Bytes(), nil
	default:
		return nil, fmt.Errorf("unknown compression %d", codec)
	}
}

func (u *unpacker) unzstd(b []byte) ([]byte, error) {
	if u.zstd == nil {
		var err error
		u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(u.limit)))
		if err != nil {
			return nil, fmt.Errorf("unpack zstd: %w", err)
		}
	}
	out, err := u.zstd.DecodeAll(b, nil)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, u.tooLarge()
	case err != nil:
		return nil, fmt.Errorf("unpack zstd: %w", err)
	}
	return out, nil
}

func (u *unpacker) close() {
	if u.zstd != nil {
		u.zstd.Close()
	}
}

func (u *unpacker) tooLarge() error { return fmt.Errorf("%w of %d bytes", errTooLarge, u.limit) }
