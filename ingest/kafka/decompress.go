package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/segmentio/kafka-go/compress"
)

// errTooLarge stops a decompression bomb: 53 KB of zstd can unfold to hundreds of MiB.
var errTooLarge = errors.New("unpacks to more than the limit")

// unpacker decompresses batches up to a limit. One goroutine owns it.
type unpacker struct {
	limit int
	zstd  *zstd.Decoder // made when first needed: it costs about 1 MiB
}

// unpack appends to dst, which may move. kafka-go's readers copy through buffers of their own,
// which for lz4 are of 4 MiB, so blocks are unpacked here.
func (u *unpacker) unpack(dst []byte, codec int8, b []byte) (out []byte, err error) {
	if len(b) == 0 {
		return dst, nil
	}
	from := len(dst)
	switch c := compress.Compression(codec); c {
	case compress.None:
		if len(b) > u.limit {
			return nil, u.tooLarge()
		}
		return append(dst, b...), nil
	case compress.Zstd:
		out, err = u.unzstd(dst, b)
	case compress.Snappy:
		out, err = u.unsnappy(dst, b)
	case compress.Lz4:
		out, err = u.unlz4(dst, b)
	case compress.Gzip:
		r := c.Codec().NewReader(bytes.NewReader(b))
		defer r.Close()
		w := bytes.NewBuffer(dst)
		_, err = w.ReadFrom(io.LimitReader(r, int64(u.limit)+1))
		out = w.Bytes()
	default:
		return nil, fmt.Errorf("unknown compression %d", codec)
	}
	switch {
	case errors.Is(err, errTooLarge), err == nil && len(out)-from > u.limit:
		return nil, u.tooLarge()
	case err != nil:
		return nil, fmt.Errorf("unpack %s: %w", compress.Compression(codec), err)
	}
	return out, nil
}

// unpackedSize is how much b unpacks to, if it can be unpacked and that is easy to find: neither
// gzip nor zstd says it in a way that cannot lie.
func unpackedSize(codec int8, b []byte) (n int, known bool) {
	switch compress.Compression(codec) {
	case compress.None:
		return len(b), true
	case compress.Snappy:
		if !bytes.HasPrefix(b, xerial) {
			n, _ = s2.DecodedLen(b)
			return n, true
		}
		for b = b[min(16, len(b)):]; len(b) > 4; {
			size := int(min(uint64(binary.BigEndian.Uint32(b)), uint64(len(b)-4)))
			one, _ := s2.DecodedLen(b[4 : 4+size])
			n, b = n+one, b[4+size:]
		}
		return n, true
	case compress.Lz4:
		_ = lz4Blocks(b, func(block []byte, stored, _ bool, _ int) error {
			if !stored {
				n += lz4Length(block)
			} else {
				n += len(block)
			}
			return nil
		})
		return n, true
	}
	return 0, false
}

func (u *unpacker) unzstd(dst, b []byte) ([]byte, error) {
	if u.zstd == nil {
		var err error
		u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(u.limit)))
		if err != nil {
			return nil, err
		}
	}
	from := len(dst)
	out, err := u.zstd.DecodeAll(b, dst[from:from:cap(dst)])
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return nil, errTooLarge
	}
	if err == nil && cap(dst) > from && len(out) > 0 && &out[0] == &dst[from : from+1][0] {
		return dst[:from+len(out)], nil // it was unpacked in place
	}
	return append(dst, out...), err
}

// xerial is how the blocks of Java's and kafka-go's snappy begin; others write one plain block.
var xerial = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

func (u *unpacker) unsnappy(dst, b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, xerial) {
		return u.snappyBlock(dst, b, u.limit)
	}
	if len(b) < 16 {
		return nil, io.ErrUnexpectedEOF
	}
	b = b[16:] // with two versions
	limit := len(dst) + u.limit
	for len(b) > 0 {
		if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
			return nil, io.ErrUnexpectedEOF
		}
		n := int(binary.BigEndian.Uint32(b))
		var err error
		if dst, err = u.snappyBlock(dst, b[4:4+n], limit-len(dst)); err != nil {
			return nil, err
		}
		b = b[4+n:]
	}
	return dst, nil
}

func (u *unpacker) snappyBlock(dst, b []byte, limit int) ([]byte, error) {
	n, err := s2.DecodedLen(b)
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, errTooLarge
	}
	from := len(dst)
	dst = slices.Grow(dst, n)[:from+n]
	if _, err := s2.Decode(dst[from:], b); err != nil {
		return nil, err
	}
	return dst, nil
}

// lz4Blocks gives the blocks of a frame of lz4. Its checksums are not looked at: the batch has one
// of its own.
func lz4Blocks(b []byte, give func(block []byte, stored, alone bool, most int) error) error {
	if len(b) < 7 || binary.LittleEndian.Uint32(b) != 0x184D2204 {
		return errors.New("not a frame")
	}
	const (
		independent, blockSum, sized, dict = 1 << 5, 1 << 4, 1 << 3, 1
		stored                             = 1 << 31
	)
	flags, most := b[4], 1<<(8+2*(b[5]>>4&7)) // 64 KiB, 256 KiB, 1 MiB, 4 MiB
	head := 7
	if flags&sized != 0 {
		head += 8
	}
	if flags&dict != 0 {
		head += 4
	}
	rest := b[min(head, len(b)):]
	for {
		if len(rest) < 4 {
			return io.ErrUnexpectedEOF
		}
		word := binary.LittleEndian.Uint32(rest)
		n := int(word &^ stored)
		rest = rest[4:]
		if n == 0 {
			return nil
		}
		if n > len(rest) {
			return io.ErrUnexpectedEOF
		}
		if err := give(rest[:n], word&stored != 0, flags&independent != 0, most); err != nil {
			return err
		}
		rest = rest[n:]
		if flags&blockSum != 0 {
			rest = rest[min(4, len(rest)):]
		}
	}
}

func (u *unpacker) unlz4(dst, b []byte) ([]byte, error) {
	from := len(dst)
	err := lz4Blocks(b, func(block []byte, stored, alone bool, most int) error {
		if stored {
			dst = append(dst, block...)
		} else {
			var before []byte
			if !alone {
				before = dst[max(from, len(dst)-64<<10):]
			}
			dst = slices.Grow(dst, 64)           // the decoder must not be given nothing
			room := min(cap(dst)-len(dst), most) // mostly enough: see weigh
			n, err := lz4.UncompressBlockWithDict(block, dst[len(dst):len(dst)+room], before)
			if err != nil {
				if room = lz4Length(block); room > most {
					return errors.New("a block is larger than its frame allows")
				}
				dst = slices.Grow(dst, room)
				if n, err = lz4.UncompressBlockWithDict(block, dst[len(dst):len(dst)+room], before); err != nil {
					return err
				}
			}
			dst = dst[:len(dst)+n]
		}
		if len(dst)-from > u.limit {
			return errTooLarge
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return dst, nil
}

// lz4Length is how much a block unpacks to, if it can be: the sum of its literals and matches.
func lz4Length(b []byte) (n int) {
	for i := 0; i < len(b); {
		token := b[i]
		i++
		literals, match := int(token>>4), int(token&15)
		if literals == 15 {
			for more := byte(255); more == 255 && i < len(b); i++ {
				more = b[i]
				literals += int(more)
			}
		}
		n += literals
		if i += literals + 2; i > len(b) { // the last has no match
			break
		}
		if match == 15 {
			for more := byte(255); more == 255 && i < len(b); i++ {
				more = b[i]
				match += int(more)
			}
		}
		n += match + 4
	}
	return n
}

func (u *unpacker) close() {
	if u.zstd != nil {
		u.zstd.Close()
		u.zstd = nil
	}
}

func (u *unpacker) tooLarge() error { return fmt.Errorf("%w of %d bytes", errTooLarge, u.limit) }
