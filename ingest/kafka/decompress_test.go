package kafka

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/pierrec/lz4/v4"
	"github.com/segmentio/kafka-go/compress"
)

// frames are ways in which others write lz4, beside kafka-go's.
func frames(t testing.TB, plain []byte) map[string][]byte {
	out := map[string][]byte{}
	for name, o := range map[string][]lz4.Option{
		"64 KiB":    {lz4.BlockSizeOption(lz4.Block64Kb)},
		"checksums": {lz4.BlockSizeOption(lz4.Block256Kb), lz4.BlockChecksumOption(true), lz4.SizeOption(uint64(len(plain)))},
		"bare":      {lz4.ChecksumOption(false), lz4.BlockSizeOption(lz4.Block1Mb)},
	} {
		var b bytes.Buffer
		w := lz4.NewWriter(&b)
		if err := w.Apply(o...); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		out[name] = b.Bytes()
	}
	return out
}

func packed(t testing.TB, c compress.Compression, plain []byte) []byte {
	var b bytes.Buffer
	w := c.Codec().NewWriter(&b)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Whatever is unpacked lands behind what was there before, in place or moved.
func TestUnpackGivesWhatWasPacked(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	for name, plain := range map[string][]byte{
		"text": []byte(strings.Repeat("the same line again and again\n", 20_000)), "noise": noise, "one": {1},
		"both": append(bytes.Repeat([]byte{7}, 200_000), noise...),
	} {
		in := map[string]struct {
			codec compress.Compression
			b     []byte
		}{"plain snappy": {compress.Snappy, s2.EncodeSnappy(nil, plain)}}
		for _, c := range []compress.Compression{compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
			in[c.String()] = struct {
				codec compress.Compression
				b     []byte
			}{c, packed(t, c, plain)}
		}
		for how, b := range frames(t, plain) {
			in["lz4 "+how] = struct {
				codec compress.Compression
				b     []byte
			}{compress.Lz4, b}
		}
		for how, x := range in {
			exact := x.codec != compress.Zstd // whose window counts, too
			if n, known := unpackedSize(int8(x.codec), x.b); known == (x.codec == compress.Gzip || x.codec == compress.Zstd) || known && n != len(plain) {
				t.Errorf("%s as %s: %d bytes (%t) before it is unpacked, want %d", name, how, n, known, len(plain))
			}
			u := unpacker{limit: len(plain)}
			if !exact {
				u.limit = 16 << 20
			}
			for _, room := range []int{0, len(plain) / 2, len(plain) + 100, 4 * len(plain)} {
				dst := append(make([]byte, 0, room+6), "before"...)
				got, err := u.unpack(dst, int8(x.codec), x.b)
				if err != nil || !bytes.HasPrefix(got, []byte("before")) || !bytes.Equal(got[6:], plain) {
					t.Errorf("%s as %s with room for %d: %d bytes, %v", name, how, room, len(got), err)
				}
			}
			less := unpacker{limit: max(1, len(plain)-1)}
			if _, err := less.unpack(nil, int8(x.codec), x.b); !errors.Is(err, errTooLarge) && len(plain) > 1 {
				t.Errorf("%s as %s with a limit of %d: %v", name, how, less.limit, err)
			}
			less.close()
			for cut := range min(len(x.b), 200) {
				if got, err := u.unpack(nil, int8(x.codec), x.b[:cut]); err == nil && len(got) == len(plain) && len(plain) > 1 {
					t.Errorf("%s as %s: whole from its first %d bytes", name, how, cut)
				}
			}
			u.close()
		}
	}
}

// What kafka-go reads, too, is the same, as far as one frame goes; and nothing harms.
func FuzzUnpack(f *testing.F) {
	plain := []byte(strings.Repeat("some text ", 100))
	for _, c := range []compress.Compression{compress.Snappy, compress.Lz4} {
		f.Add(int8(c), packed(f, c, plain))
	}
	for _, b := range frames(f, plain) {
		f.Add(int8(compress.Lz4), b)
	}
	f.Add(int8(compress.Lz4), []byte("\x04\x22\x4d\x18\x40\x40\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")) // a block of nothing
	f.Fuzz(func(t *testing.T, codec int8, b []byte) {
		const limit = 1 << 20
		u := unpacker{limit: limit}
		defer u.close()
		got, err := u.unpack(nil, codec, b)
		if len(got) > limit {
			t.Fatalf("%d bytes", len(got))
		}
		if n, known := unpackedSize(codec, b); known && (n < 0 || err == nil && n != len(got)) {
			t.Fatalf("%d bytes are %d", n, len(got)) // what a batch is let in by
		}
		c := compress.Compression(codec)
		if c != compress.Snappy && c != compress.Lz4 {
			return
		}
		r := c.Codec().NewReader(bytes.NewReader(b))
		defer r.Close()
		if want, no := io.ReadAll(io.LimitReader(r, limit)); no == nil && len(want) < limit && err == nil && !bytes.HasPrefix(want, got) {
			t.Fatalf("%s: %d bytes, %v; kafka-go reads %d", c, len(got), err, len(want))
		}
	})
}
