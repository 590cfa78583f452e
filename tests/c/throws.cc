/*
 * Functions that throw and catch, and say how often they were called.
 *
 *	throws N
 */
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#define NOINLINE __attribute__((noinline, noclone, noipa))

static volatile long steps, left;

extern "C" {

NOINLINE void may_throw(void)
{
	steps++;
	if (left > 0) {
		left--;
		throw std::runtime_error("again");
	}
}

/* Its landing pad leads back to before the first call. */
NOINLINE long catches_and_retries(void)
{
again:
	try {
		may_throw();
	} catch (const std::exception &) {
		goto again;
	}
	return steps;
}

/* The unwinder leaves it by its landing pad. */
NOINLINE long passes_on(void)
{
	std::string text(40, 'x');

	may_throw();
	return steps + (long)text.size();
}

NOINLINE long catches(void)
{
	try {
		return passes_on();
	} catch (const std::exception &) {
		return -1;
	}
}

NOINLINE long catches_in_loop(long n)
{
	long caught = 0;

	for (long i = 0; i < n; i++) {
		try {
			may_throw();
		} catch (...) {
			caught++;
		}
	}
	return caught;
}
}

struct shape {
	long sides;
	NOINLINE shape(long n) : sides(n)
	{
		if (left > 0)
			may_throw();
	}
	NOINLINE virtual ~shape()
	{
		steps++;
	}
};

int main(int argc, char **argv)
{
	const long n = argc > 1 ? atol(argv[1]) : 1;
	long thrown = 0, made = 0;

	for (long i = 0; i < n; i++) {
		left = i % 3;
		catches_and_retries();
		thrown += i % 3 + 1;
		left = i % 2;
		catches();
		thrown++;
		left = i % 5;
		catches_in_loop(7);
		thrown += 7;
		left = i % 2;
		thrown += i % 2;
		try {
			shape one(i);
			made++;
		} catch (...) {
		}
	}
	printf("{\"may_throw\": %ld, \"catches_and_retries\": %ld, \"passes_on\": %ld, "
	       "\"catches\": %ld, \"catches_in_loop\": %ld, \"_ZN5shapeC1El\": %ld, "
	       "\"_ZN5shapeD1Ev\": %ld}\n",
		thrown, n, n, n, n, n, made);
	return 0;
}
