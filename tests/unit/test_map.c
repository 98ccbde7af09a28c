/* Maps, heap, random numbers: each against a simple model. */
#include "base/heap.h"
#include "base/map.h"
#include "base/rand.h"
#include "tap.h"

#include <stdio.h>
#include <stdlib.h>

#define KEYS 3000

TEST(imap_against_model)
{
	static char model[KEYS], vals[KEYS];
	struct imap m = {0};
	struct rand64 r;
	size_t n = 0;

	rand_seed(&r, 1);
	CHECK(!imap_get(&m, 5));
	CHECK(!imap_del(&m, 5));
	for (int step = 0; step < 200000; step++) {
		size_t k = rand_range(&r, KEYS);
		int64_t key = ((int64_t)k - 1500) * 65536;	/* low bits all alike, signs mixed */
		if (rand_chance(&r, 500)) {
			CHECK(imap_put(&m, key, &vals[k]) == (model[k] ? &vals[k] : NULL));
			n += !model[k];
			model[k] = 1;
		} else {
			CHECK(imap_del(&m, key) == (model[k] ? &vals[k] : NULL));
			n -= (size_t)model[k];
			model[k] = 0;
		}
		CHECK_EQ(m.n, n);
	}
	for (size_t k = 0; k < KEYS; k++)
		CHECK(imap_get(&m, ((int64_t)k - 1500) * 65536) == (model[k] ? &vals[k] : NULL));
	size_t it = 0, seen = 0;
	int64_t key;
	for (char *v; (v = imap_next(&m, &it, &key)); seen++)
		CHECK_EQ(key, ((v - vals) - 1500) * 65536);
	CHECK_EQ(seen, n);
	imap_fini(&m);
}

TEST(smap_against_model)
{
	static char model[KEYS], vals[KEYS];
	struct smap m = {0};
	struct rand64 r;
	size_t n = 0;
	char text[32];

	rand_seed(&r, 2);
	CHECK(!smap_get(&m, STR("x")));
	for (int step = 0; step < 100000; step++) {
		size_t k = rand_range(&r, KEYS);
		int len = k ? snprintf(text, sizeof(text), "key-%zu", k) : 0;	/* key 0 is the empty text */
		struct str key = {text, (size_t)len};
		if (rand_chance(&r, 500)) {
			CHECK(smap_put(&m, key, &vals[k]) == (model[k] ? &vals[k] : NULL));
			n += !model[k];
			model[k] = 1;
		} else {
			CHECK(smap_del(&m, key) == (model[k] ? &vals[k] : NULL));
			n -= (size_t)model[k];
			model[k] = 0;
		}
		CHECK_EQ(m.n, n);
		CHECK(smap_get(&m, key) == (model[k] ? &vals[k] : NULL));
	}
	size_t it = 0, seen = 0;
	struct str key;
	while (smap_next(&m, &it, &key))
		seen++;
	CHECK_EQ(seen, n);
	CHECK(!smap_get(&m, STR("key-1\0")));	/* a NUL is a byte like any other */
	smap_fini(&m);
}

TEST(heap_against_model)
{
	static struct heap_item items[500];
	struct heap h = {0};
	struct rand64 r;

	rand_seed(&r, 3);
	for (int i = 0; i < 500; i++)
		items[i].tie = i;
	CHECK(!heap_min(&h));
	for (int step = 0; step < 50000; step++) {
		struct heap_item *it = &items[rand_range(&r, 500)];
		if (rand_chance(&r, 600))
			heap_set(&h, it, (int64_t)rand_range(&r, 50));
		else
			heap_del(&h, it);
		if (step % 100)
			continue;
		struct heap_item *want = NULL;
		for (int i = 0; i < 500; i++) {
			struct heap_item *c = &items[i];
			if (c->idx && (!want || c->at < want->at || (c->at == want->at && c->tie < want->tie)))
				want = c;
		}
		CHECK(heap_min(&h) == want);
	}
	int64_t last = -1, tie = -1;
	while (heap_min(&h)) {
		struct heap_item *it = heap_min(&h);
		CHECK(it->at > last || (it->at == last && it->tie > tie));
		last = it->at;
		tie = it->tie;
		heap_del(&h, it);
		CHECK_EQ(it->idx, 0);
	}
	heap_fini(&h);
}

TEST(rand_repeats_and_spreads)
{
	struct rand64 a, b;
	unsigned count[6] = {0}, hits = 0;

	rand_seed(&a, 42);
	rand_seed(&b, 42);
	for (int i = 0; i < 60000; i++) {
		CHECK_EQ(rand_u64(&a), rand_u64(&b));
		count[rand_range(&a, 6)]++;
		rand_range(&b, 6);
	}
	for (int i = 0; i < 6; i++)
		CHECK(count[i] > 9500 && count[i] < 10500);
	for (int i = 0; i < 10000; i++)
		hits += rand_chance(&a, 250);
	CHECK(hits > 2300 && hits < 2700);
	rand_seed(&a, 43);
	CHECK(rand_u64(&a) != rand_u64(&b));
	CHECK(!rand_chance(&a, 0));
	CHECK(rand_chance(&a, 1000));
}
