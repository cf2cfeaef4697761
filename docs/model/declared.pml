/*
 * Declared batches: one partition, two consumers of one group, Kafka's coordinator and ClickHouse.
 * README.md says what is modelled, what is not, and which function each step stands for.
 *
 * Each step of a consumer is one atomic option of its loop, so a crash, a rebalance or another
 * consumer can come between any two. What goes wrong is paid for from a budget, except that a
 * server that is down makes every request fail, as often as it is asked, until it is back.
 */

#ifndef N
#define N 4             /* records in the partition; offsets 0 .. N-1 */
#endif
#ifndef TROUBLES
#define TROUBLES 3      /* crashes, zombies, rebalances, failed requests, lost answers, outages: together */
#endif
#ifndef FORGETS
#define FORGETS 0       /* a token drops out of ClickHouse's window */
#endif

#ifndef NOTES
#define NOTES 0         /* ClickHouse is killed between its note of a token and the rows */
#endif
#define NAMES (NOTES + 1) /* tokens that a writer has for a batch */

#define MAX  2          /* rows of a batch; each batch is 1 .. MAX long, whoever makes it */
#define NONE 255

/* What the mutations and the limits change. */
#ifdef NO_FENCE
#define ACCEPTED(g) true
#else
#define ACCEPTED(g) (g == gen)
#endif
#ifdef NO_TOKEN
#define KNOWN(t, b, e, name) false
#else
#define KNOWN(t, b, e, name) (table[t].tokens[name] & TOKEN(b, e))
#endif
#ifdef NO_NEXT_TOKEN
#define LOOKS_AFTER false /* what was dropped under a token counts as stored */
#else
#define LOOKS_AFTER (NOTES > 0)
#endif
#ifdef NO_LOOK
#define LOOKS false     /* a redo relies on the tokens */
#else
#define LOOKS true
#endif
#ifdef NO_LOOK_AGAIN
#define AGAIN false     /* an attempt after an error does */
#else
#define AGAIN true
#endif
#ifdef TRUST_DONE
#define ALONE true      /* what was done counts as done, whoever had the batch since */
#else
#define ALONE (self.doneGen + 1 == self.gen)
#endif
#ifdef NO_DECLARE
#define DECLARED(c, e) c
#else
#define DECLARED(c, e) e
#endif

#define TOKEN(b, e) (1 << ((b) * MAX + (e) - (b) - 1))

mtype = { DOWN, JOIN, LOCATE, IDLE, POLL, DECLARE, ACK, LOOK, STORE, FAILED, LEAVE };
mtype = { OK, SILENT, REFUSED };
mtype = { NOTHING, KAFKA, CLICKHOUSE };

typedef Member {
	mtype st;
	bool joining;   /* asked the coordinator for the next generation */
	byte gen;       /* the generation that it believes in */
	byte at;        /* part.durable: everything before it is done */
	byte end;       /* the batch in hand is [at, end); none if end == at */
	bool redo;      /* ... and was found declared */
	byte turn;      /* the table whose turn it is */
	byte nth;       /* the token whose turn it is */
	bool look;      /* ask the tables first: a redo, or an attempt after an error */
	bool dirty;     /* part.dirty: durable is ahead of the commit */
	byte begin;     /* part.finished is [begin, at) */
	byte doneBegin, doneEnd, doneGen /* Consumer.done */
};

Member m[2];

/* The coordinator, and the committed record of the partition. */
byte gen;
byte owner = NONE;
bool preparing;         /* members must join again; commits of this generation still count */
byte C, E;              /* everything before C is done, [C, E) is declared; nothing if E == C */

/* ClickHouse: the events, and a roll-up of them. Both must have every record once. */
#define TABLES 2
typedef Table {
	byte rows[N];
	int tokens[NAMES];
	int names       /* of the batches that are in it, as a roll-up keeps them */
}
Table table[TABLES];

/* A request that the client gave up on and that is still under way: an insert, a commit. */
byte lateTable, lateNth, lateBegin = NONE, lateEnd = NONE;
#ifdef LATE_COMMIT
byte lateGen, lateC, lateE;
#endif

mtype down = NOTHING;
byte troubles = TROUBLES, forgets = FORGETS, notes = NOTES;

#define self m[me]
/* The heartbeat may say so at any time, or not for long. */
#define moved (preparing || self.gen != gen)
/* What a writer that looks finds: a row of the range (MAX is 2), or the batch's name. */
#define has(t, b, e) (t == 0 -> (table[0].rows[b] > 0 || table[0].rows[(e) - 1] > 0) : (table[1].names & TOKEN(b, e)) != 0)
#define acknowledged (C == N && E == N)

/* Nothing before the committed offset may be missing. */
inline record(first, last) {
	C = first; E = DECLARED(first, last);
	o = 0;
	do
	:: o < C -> assert(table[0].rows[o] > 0 && table[1].rows[o] > 0); o++
	:: else -> break
	od;
	o = 0
}

inline note(which, first, past, name) { table[which].tokens[name] = table[which].tokens[name] | TOKEN(first, past) }

/* Nothing may be stored twice. */
inline store(which, first, past, name) {
	if
	:: KNOWN(which, first, past, name) -> skip
	:: else ->
		note(which, first, past, name);
		table[which].names = table[which].names | TOKEN(first, past);
		o = first;
		do
		:: o < past -> table[which].rows[o]++; assert(table[which].rows[o] == 1); o++
		:: else -> break
		od;
		o = 0
	fi
}

/* On to the next table, or the batch is done. */
inline stored() {
	self.nth = 0;
	if
	:: self.turn + 1 < TABLES -> self.turn++; self.st = (self.look -> LOOK : STORE)
	:: else -> self.begin = self.at; self.at = self.end; self.redo = false; self.look = false; self.turn = 0; self.dirty = true; self.st = POLL
	fi
}

/* One request to the coordinator, and what the client hears of it. */
inline commit(from, to) {
	if
	:: down == KAFKA -> res = SILENT
	:: down != KAFKA && !ACCEPTED(self.gen) -> res = REFUSED
	:: down != KAFKA && ACCEPTED(self.gen) -> record(from, to); res = OK
	:: down != KAFKA && ACCEPTED(self.gen) && troubles > 0 -> troubles--; record(from, to); res = SILENT
	:: down != KAFKA && troubles > 0 -> troubles--; res = SILENT
#ifdef LATE_COMMIT
	:: down != KAFKA && troubles > 0 && lateGen == 0 -> troubles--; lateGen = self.gen; lateC = from; lateE = to; res = SILENT
#endif
	fi
}

inline drop() { self.end = self.at; self.redo = false; self.look = false; self.turn = 0; self.nth = 0 }

/* Who asked the table before asks again: the rows may be missing under a token that was noted. */
inline inserted() {
	if
	:: self.look && LOOKS_AFTER -> self.nth++; self.st = LOOK
	:: else -> stored()
	fi
}

/* The generation is over for this member, and its process goes on. */
inline rejoin() {
	drop();
	self.doneBegin = NONE; self.doneEnd = NONE; self.doneGen = 0;
	if
	:: self.dirty -> self.doneBegin = self.begin; self.doneEnd = self.at; self.doneGen = self.gen
	:: else -> skip
	fi;
	self.dirty = false; self.begin = NONE; self.at = 0; self.end = 0;
	self.st = JOIN; self.joining = true
}

#ifdef REJOIN_ON_SILENCE
#define silence(state) rejoin()
#else
#define silence(state) self.st = state
#endif

proctype Consumer(byte me) {
	byte o;
	mtype res = OK;
end:	do
	:: atomic { self.st == DOWN -> self.st = JOIN; self.joining = true }

	:: atomic { self.st == LOCATE && down != KAFKA ->
		self.at = C;
		if
		:: self.doneBegin == C && self.doneEnd == E && E != C && ALONE ->
			/* This very batch is finished, and only its acknowledgement was lost. */
			self.at = E; self.dirty = true
		:: else -> self.redo = (E != C)
		fi;
		self.end = E;
		self.doneBegin = NONE; self.doneEnd = NONE; self.doneGen = 0;
		self.st = POLL }

	:: atomic { self.st == POLL && self.redo -> self.st = DECLARE }
	:: atomic { self.st == POLL && !self.redo && self.at < N ->
		if
		:: self.end = self.at + 1
		:: self.at + 2 <= N -> self.end = self.at + 2
		fi;
		self.st = DECLARE }
	:: atomic { self.st == POLL && !self.redo && self.dirty -> self.st = ACK }
	:: atomic { (self.st == POLL || self.st == DECLARE || self.st == ACK || self.st == FAILED) && moved -> drop(); self.st = LEAVE }
	:: atomic { self.st == IDLE && moved -> rejoin() }

	:: atomic { self.st == DECLARE ->
		commit(self.at, self.end);
		if
		:: res == OK -> self.dirty = false; self.begin = NONE; self.look = (self.redo && LOOKS); self.st = (self.look -> LOOK : STORE)
		:: res == SILENT -> silence(DECLARE)
		:: res == REFUSED -> rejoin()
		fi;
		res = OK }
	:: atomic { self.st == ACK ->
		commit(self.at, self.at);
		if
		:: res == OK -> self.dirty = false; self.begin = NONE; self.st = POLL
		:: res == SILENT -> silence(POLL)
		:: res == REFUSED -> rejoin()
		fi;
		res = OK }

	:: atomic { self.st == LOOK && down != CLICKHOUSE ->
		if
		:: has(self.turn, self.at, self.end) -> stored()
		:: else -> assert(self.nth < NAMES); self.st = STORE
		fi }
	:: atomic { self.st == STORE && down != CLICKHOUSE -> store(self.turn, self.at, self.end, self.nth); inserted() }
	:: atomic { self.st == STORE && down != CLICKHOUSE && troubles > 0 -> troubles--; store(self.turn, self.at, self.end, self.nth); self.st = FAILED }
	:: atomic { self.st == STORE && down == NOTHING && notes > 0 -> notes--; note(self.turn, self.at, self.end, self.nth); down = CLICKHOUSE; self.st = FAILED }
	:: atomic { self.st == STORE && troubles > 0 && lateBegin == NONE ->
		troubles--; lateTable = self.turn; lateNth = self.nth; lateBegin = self.at; lateEnd = self.end; self.st = FAILED }
	:: atomic { (self.st == LOOK || self.st == STORE) && down == CLICKHOUSE -> self.st = FAILED }
	:: atomic { (self.st == LOOK || self.st == STORE) && down != CLICKHOUSE && troubles > 0 -> troubles--; self.st = FAILED }
	:: atomic { self.st == FAILED -> self.look = ((self.redo || AGAIN) && LOOKS); self.turn = 0; self.nth = 0; self.st = (self.look -> LOOK : STORE) }

	:: atomic { self.st == LEAVE && !self.dirty -> rejoin() }
	:: atomic { self.st == LEAVE && self.dirty ->
		commit(self.at, self.at);
		self.dirty = (res != OK);
		res = OK;
		rejoin() }

	:: atomic { troubles > 0 && self.st != DOWN -> troubles--;
		self.joining = false; self.dirty = false; self.begin = NONE; self.at = 0; drop();
		self.doneBegin = NONE; self.doneEnd = NONE; self.doneGen = 0; self.gen = 0; self.st = DOWN }
	od
}

inline deal(i) {
	if
	:: m[i].joining -> m[i].joining = false; m[i].gen = gen; m[i].st = (owner == i -> LOCATE : IDLE)
	:: else -> skip
	fi
}

inline agree() {
	gen++; preparing = false;
	if
	:: m[0].joining -> owner = 0
	:: m[1].joining -> owner = 1
	fi;
	deal(0); deal(1)
}

#define here(i) (m[i].joining || m[i].st == DOWN)

proctype Coordinator() {
end:	do
	:: atomic { !preparing && down != KAFKA && (m[0].joining || m[1].joining) -> preparing = true }
	:: atomic { !preparing && down != KAFKA && owner != NONE && m[owner].st == DOWN -> preparing = true; owner = NONE }
	:: atomic { !preparing && down != KAFKA && troubles > 0 -> troubles--; preparing = true }
	:: atomic { preparing && down != KAFKA && (m[0].joining || m[1].joining) && here(0) && here(1) -> agree() }
	:: atomic { preparing && down != KAFKA && (m[0].joining || m[1].joining) && !(here(0) && here(1)) && troubles > 0 -> troubles--; agree() }
	od
}

/* Somebody is in the midst of the inserts of [b, e), and will not look again before the next. */
#ifdef PAUSED_IN_INSERT
#define inserting(i, b, e) false
#else
#define inserting(i, b, e) (m[i].st == STORE && m[i].at == b && m[i].end == e)
#endif
#define forgettable(t, b, e) ((table[t].tokens[0] & TOKEN(b, e)) && !(lateBegin == b && lateTable == t) && !inserting(0, b, e) && !inserting(1, b, e))

/* What must hold when nothing more can happen. A late commit may take the record back at the very
 * end, which harms nobody by itself: that run looks for what it does to the rows. */
#if defined(LATE_COMMIT) && !defined(REJOIN_ON_SILENCE)
#define settled true
#else
#define settled acknowledged
#endif

/* The servers and the net. */
proctype World() {
	byte o, e, t;
	do
	:: atomic { down == NOTHING && troubles > 0 -> troubles--; down = KAFKA }
	:: atomic { down == NOTHING && troubles > 0 -> troubles--; down = CLICKHOUSE }
	:: atomic { down != NOTHING -> down = NOTHING }
	:: atomic { lateBegin != NONE && down != CLICKHOUSE -> store(lateTable, lateBegin, lateEnd, lateNth); lateBegin = NONE; lateEnd = NONE; lateTable = 0; lateNth = 0 }
	:: atomic { lateBegin != NONE && down == NOTHING && notes > 0 ->
		notes--; note(lateTable, lateBegin, lateEnd, lateNth); down = CLICKHOUSE; lateBegin = NONE; lateEnd = NONE; lateTable = 0; lateNth = 0 }
#ifdef LATE_COMMIT
	:: atomic { lateGen != 0 && down != KAFKA ->
		if
		:: ACCEPTED(lateGen) -> record(lateC, lateE)
		:: else -> skip
		fi;
		lateGen = 0; lateC = 0; lateE = 0 }
#endif
	:: atomic { forgets > 0 && (table[0].tokens[0] | table[1].tokens[0]) != 0 ->
		if
		:: t = 0 :: t = 1
		fi;
		if
		:: o = 0 :: o = 1 :: o = 2 :: o = 3
		fi;
		if
		:: e = o + 1 :: e = o + 2
		fi;
		if
		:: e <= N && forgettable(t, o, e) -> forgets--; table[t].tokens[0] = table[t].tokens[0] & ~TOKEN(o, e)
		:: else -> skip
		fi;
		o = 0; e = 0; t = 0 }
	:: atomic { timeout -> assert(settled); break }
	od
}

init {
	atomic {
		m[0].st = DOWN; m[1].st = DOWN;
		m[0].begin = NONE; m[0].doneBegin = NONE; m[0].doneEnd = NONE;
		m[1].begin = NONE; m[1].doneBegin = NONE; m[1].doneEnd = NONE;
		run Consumer(0); run Consumer(1); run Coordinator(); run World()
	}
}

/* Never stuck. What is acknowledged is stored: record asserts it. */
ltl never_stuck { <> [] acknowledged }
