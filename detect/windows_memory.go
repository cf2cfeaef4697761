package detect

import "slices"

// arena keeps the blocks of all series. A block is a number and not a pointer, so that the
// collector has nothing to follow, and the memory of one that goes is the next one's.
type arena struct {
	chunks []chunk
	spare  []uint32             // chunks without memory
	room   [len(sizes)][]uint32 // chunks that have free cells of a size
	made   [len(sizes)]int      // chunks of a size so far
}

// chunk has cells of one size.
type chunk struct {
	words []uint32
	free  uint32 // where a free cell is, from one; there is where the next is
	fresh uint32 // from here on all are free
	used  uint32
}

const (
	maxHeld    = 250_000_000 // points, of six words at most: chunks have numbers for twice as many
	chunkBits  = 13
	chunkWords = 1 << chunkBits // 32 KiB
	firstChunk = 256            // words of the first two of a size; two have twice as many, and so on
)

// sizes are what cells may have of words. Below 30 they fit so many points exactly, above they
// share a chunk without a rest.
var sizes = [...]uint16{
	0, 4, 6, 7, 10, 11, 13, 16, 19, 22, 26, 30, 35, 40, 46, 53, 62, 71, 84, 99, 117, 136, 160, 190, 227, 264, 315, 372, 431, 512, 585, 682, 819, 910,
	1024, 1170, 1365, 1638, 2048,
}

// sizeOf is the smallest size that has so many words.
func sizeOf(words int) uint8 {
	i, _ := slices.BinarySearch(sizes[:], uint16(words))
	return uint8(i)
}

// take hands out a cell.
func (a *arena) take(size uint8) uint32 {
	if len(a.room[size]) == 0 {
		a.grow(size)
	}
	room := a.room[size]
	k := room[len(room)-1]
	c := &a.chunks[k]
	at := c.fresh
	if c.free != 0 {
		at = c.free - 1
		c.free = c.words[at]
	} else {
		c.fresh += uint32(sizes[size])
	}
	c.used++
	if !c.has(size) {
		a.room[size] = room[:len(room)-1]
	}
	return k<<chunkBits | at
}

func (c *chunk) has(size uint8) bool {
	return c.free != 0 || int(c.fresh)+int(sizes[size]) <= len(c.words)
}

func (a *arena) grow(size uint8) {
	n := min(max(firstChunk<<min(a.made[size]/2, chunkBits), int(sizes[size])), chunkWords)
	a.made[size]++
	c := chunk{words: make([]uint32, n)}
	k := uint32(len(a.chunks))
	if n := len(a.spare); n > 0 {
		k, a.spare = a.spare[n-1], a.spare[:n-1]
		a.chunks[k] = c
	} else {
		a.chunks = append(a.chunks, c)
	}
	a.room[size] = append(a.room[size], k)
}

// give takes a cell back, and lets a chunk go that has no other.
func (a *arena) give(ref uint32, size uint8) {
	k, at := ref>>chunkBits, ref&(chunkWords-1)
	c := &a.chunks[k]
	had := c.has(size)
	c.words[at] = c.free
	c.free = at + 1
	c.used--
	switch {
	case c.used == 0 && (len(a.room[size]) > 1 || len(c.words) > firstChunk):
		if i := slices.Index(a.room[size], k); i >= 0 {
			a.room[size] = slices.Delete(a.room[size], i, i+1)
		}
		*c = chunk{}
		a.spare = append(a.spare, k)
		a.made[size]--
	case !had:
		a.room[size] = append(a.room[size], k)
	}
}

// cell are the words of one.
func (a *arena) cell(ref uint32, size uint8) []uint32 {
	at := ref & (chunkWords - 1)
	return a.chunks[ref>>chunkBits].words[at:][:sizes[size]]
}
