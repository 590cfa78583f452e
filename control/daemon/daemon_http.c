#include "control/daemon/daemon_http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/daemon/daemon_flight.h"
#include "control/daemon/daemon_profiles.h"
#include "core/base/cleanup.h"

/* Pages are good for so many times as long as making them took: however many ask, that takes no
 * more than a tenth of the daemon's time. */
#define PAGE_REST 10

/* --- metrics -----------------------------------------------------------------------------------
 */

struct collected {
	struct ng_member_report *reports;
	size_t count, room;
};

static int collect(const struct ng_member_report *report, void *context)
{
	struct collected *collected = context;
	struct ng_member_report *grown = collected->reports;

	if (collected->count == collected->room) {
		collected->room = collected->room ? 2 * collected->room : 16;
		grown = reallocarray(grown, collected->room, sizeof(*grown));
	}
	if (!grown)
		return -ENOMEM;
	collected->reports = grown;
	grown[collected->count++] = *report;
	return 0;
}

static double unix_seconds(void)
{
	return (double)ng_clock_read(CLOCK_REALTIME) / NG_NS_PER_S;
}

static double resident_bytes(void)
{
	NG_CLEANUP_FCLOSE FILE *file = fopen("/proc/self/statm", "re");
	unsigned long long pages = 0;

	if (!file || fscanf(file, "%*u %llu", &pages) != 1)
		return 0;
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static int look(struct ng_daemon *daemon, struct ng_metrics_facts *ret_facts)
{
	*ret_facts = (struct ng_metrics_facts){.version = NG_VERSION,
		.attachments = ng_fleet_attachment_count(daemon->fleet),
		.cpu_seconds = (double)ng_clock_read(CLOCK_PROCESS_CPUTIME_ID) / NG_NS_PER_S,
		.resident_bytes = resident_bytes(),
		.start_seconds = daemon->http.start_seconds,
		.now_ns = ng_clock_ns(),
		.now_seconds = unix_seconds()};
	return ng_daemon_lost(daemon, ret_facts->lost);
}

static int make_page(struct ng_daemon *daemon, const struct ng_metrics_scrape *scrape,
	enum ng_openmetrics_format format, struct ng_http_page **ret_page)
{
	char *text;
	int error = ng_metrics_write(&daemon->http.metrics, scrape, format, &text);

	if (error)
		return error;
	*ret_page = ng_http_page_new(ng_openmetrics_type(format), text, strlen(text));
	return *ret_page ? 0 : -ENOMEM;
}

/* In both formats: were each made when it is asked for, who asks for both would see counters go
 * back. */
static int make_pages(struct ng_daemon *daemon, const struct ng_metrics_scrape *scrape)
{
	struct ng_http_page *pages[NG_OPENMETRICS_FORMATS] = {NULL};
	int error = ng_metrics_take(&daemon->http.metrics, scrape);

	for (size_t i = 0; i < NG_OPENMETRICS_FORMATS && !error; i++)
		error = make_page(daemon, scrape, (enum ng_openmetrics_format)i, &pages[i]);
	for (size_t i = 0; i < NG_OPENMETRICS_FORMATS; i++) {
		ng_http_page_free(error ? pages[i] : daemon->http.pages[i]);
		if (!error)
			daemon->http.pages[i] = pages[i];
	}
	return error;
}

static int renew_pages(struct ng_daemon *daemon)
{
	const uint64_t began_ns = ng_clock_ns();
	struct collected collected = {.reports = NULL};
	struct ng_metrics_facts facts;
	struct ng_metrics_scrape scrape = {
		.facts = &facts, .targets_max = daemon->config.metrics_targets};
	int error = look(daemon, &facts);

	if (!error)
		error = ng_fleet_report(daemon->fleet, collect, &collected);
	scrape.reports = collected.reports;
	scrape.report_count = collected.count;
	if (!error)
		error = make_pages(daemon, &scrape);
	free(collected.reports);
	daemon->http.good_until_ns =
		error ? 0 : ng_clock_ns() + PAGE_REST * (ng_clock_ns() - began_ns);
	return error;
}

static void answer_metrics(struct ng_daemon *daemon, struct ng_http_request *request)
{
	const enum ng_openmetrics_format format =
		ng_openmetrics_choose(ng_http_header(request, "Accept"));
	const int error = ng_clock_ns() >= daemon->http.good_until_ns ? renew_pages(daemon) : 0;

	if (!error) {
		ng_http_answer(request, 200, daemon->http.pages[format]);
		return;
	}
	ng_daemon_log(daemon, NG_LOG_WARNING, "no metrics: %s", strerror(-error));
	ng_http_answer_text(request, 503, "There are no metrics now: see the log.\n");
}

/* --- what there is -----------------------------------------------------------------------------
 */

static const struct {
	const char *path, *help;
	void (*answer)(struct ng_daemon *daemon, struct ng_http_request *request);
} routes[] = {
	{"/metrics", "what Prometheus scrapes; OpenMetrics, if asked for", answer_metrics},
	{"/profile", "who calls, by estimate, for go tool pprof: with ?pid=PID; takes 30 s",
		ng_daemon_answer_profile},
};

#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

static void answer_index(struct ng_http_request *request)
{
	struct ng_buffer buffer = {0};
	struct ng_http_page *page = NULL;
	char *text;

	ng_buffer_puts(&buffer, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
				"<title>nowgate</title>\n<h1>nowgate " NG_VERSION "</h1>\n<ul>\n");
	for (size_t i = 0; i < ROUTE_COUNT; i++)
		ng_buffer_printf(&buffer, "<li><a href=\"%s\">%s</a>: %s\n", routes[i].path,
			routes[i].path, routes[i].help);
	ng_buffer_puts(&buffer, "</ul>\n</html>\n");
	if (!ng_buffer_finish(&buffer, &text))
		page = ng_http_page_new("text/html; charset=utf-8", text, strlen(text));
	ng_http_answer(request, 200, page);
	ng_http_page_free(page);
}

static void answer_missing(struct ng_http_request *request)
{
	struct ng_buffer buffer = {0};
	char *text;

	ng_buffer_puts(&buffer, "There is no such page. There are:\n");
	for (size_t i = 0; i < ROUTE_COUNT; i++)
		ng_buffer_printf(&buffer, "%s: %s\n", routes[i].path, routes[i].help);
	if (ng_buffer_finish(&buffer, &text)) {
		ng_http_answer(request, 404, NULL);
		return;
	}
	ng_http_answer_text(request, 404, text);
	free(text);
}

static void on_request(struct ng_http_request *request, void *context)
{
	const char *path = ng_http_path(request);

	if (!strcmp(path, "/")) {
		answer_index(request);
		return;
	}
	for (size_t i = 0; i < ROUTE_COUNT; i++) {
		if (!strcmp(path, routes[i].path)) {
			routes[i].answer(context, request);
			return;
		}
	}
	answer_missing(request);
}

static void on_gone(struct ng_http_request *request, void *context)
{
	ng_daemon_forget_profile(context, request);
}

/* --- for the daemon ----------------------------------------------------------------------------
 */

int ng_daemon_open_http(struct ng_daemon *daemon, struct ng_diag *diag)
{
	struct ng_http_options options = {
		.on_request = on_request, .on_gone = on_gone, .context = daemon};
	char text[NG_ADDRESS_TEXT_MAX];
	int error;

	if (!daemon->config.metrics)
		return 0;
	error = ng_address_parse(daemon->config.metrics, &options.address, diag);
	if (!error)
		error = ng_http_open(&options, &daemon->http.server, diag);
	if (error)
		return error;
	daemon->http.start_seconds = unix_seconds();
	ng_address_print(ng_http_address(daemon->http.server), text);
	ng_daemon_log(daemon, NG_LOG_INFO, "metrics at http://%s/metrics", text);
	if (!ng_address_is_loopback(ng_http_address(daemon->http.server)))
		ng_daemon_log(daemon, NG_LOG_WARNING,
			"metrics: whoever reaches %s sees them and takes profiles, there is no "
			"password",
			text);
	return 0;
}

void ng_daemon_close_http(struct ng_daemon *daemon)
{
	ng_http_free(daemon->http.server);
	daemon->http.server = NULL;
	for (size_t i = 0; i < NG_OPENMETRICS_FORMATS; i++)
		ng_http_page_free(daemon->http.pages[i]);
	ng_metrics_release(&daemon->http.metrics);
}

int ng_daemon_http_fd(const struct ng_daemon *daemon)
{
	return daemon->http.server ? ng_http_event_fd(daemon->http.server) : -1;
}

uint64_t ng_daemon_http_deadline_ns(const struct ng_daemon *daemon)
{
	return daemon->http.server ? ng_http_deadline_ns(daemon->http.server) : UINT64_MAX;
}

void ng_daemon_http_turn(struct ng_daemon *daemon)
{
	if (!daemon->http.server)
		return;
	ng_daemon_profiles_turn(daemon);
	ng_http_turn(daemon->http.server);
}
