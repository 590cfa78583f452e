#include "control/plane/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "control/engine/window.h"

static void catalog_free(struct ng_catalog *catalog)
{
	ng_images_release(&catalog->images);
	for (size_t i = 0; i < catalog->wanted.function_count; i++)
		free(catalog->functions[i]);
	free(catalog->functions);
	free(catalog);
}

static bool same_wanted(const struct ng_wanted *a, const struct ng_wanted *b)
{
	if (a->function_count != b->function_count || a->clock != b->clock ||
		a->clock_set != b->clock_set)
		return false;
	for (size_t i = 0; i < a->function_count; i++) {
		if (strcmp(a->functions[i], b->functions[i]) != 0)
			return false;
	}
	return true;
}

static struct ng_catalog *catalog_new(const struct ng_wanted *wanted)
{
	struct ng_catalog *catalog = calloc(1, sizeof(*catalog));

	if (!catalog)
		return NULL;
	catalog->functions = calloc(wanted->function_count + 1, sizeof(char *));
	for (size_t i = 0; catalog->functions && i < wanted->function_count; i++) {
		catalog->functions[i] = strdup(wanted->functions[i]);
		if (!catalog->functions[i])
			break;
		catalog->wanted.function_count++;
	}
	if (!catalog->functions || catalog->wanted.function_count < wanted->function_count) {
		catalog_free(catalog);
		return NULL;
	}
	catalog->wanted.functions = (const char *const *)catalog->functions;
	catalog->wanted.clock = wanted->clock;
	catalog->wanted.clock_set = wanted->clock_set;
	catalog->wanted.sites_max = NG_WINDOW_SITES_MAX;
	catalog->wanted.leads_max = NG_WINDOW_LEADS_MAX;
	return catalog;
}

struct ng_catalog *ng_catalogs_get(struct ng_catalogs *catalogs, const struct ng_wanted *wanted)
{
	struct ng_catalog **grown, *catalog;

	for (size_t i = 0; i < catalogs->count; i++) {
		if (same_wanted(&catalogs->items[i]->wanted, wanted))
			return catalogs->items[i];
	}
	grown = reallocarray(catalogs->items, catalogs->count + 1, sizeof(struct ng_catalog *));
	if (!grown)
		return NULL;
	catalogs->items = grown;
	catalog = catalog_new(wanted);
	if (catalog)
		grown[catalogs->count++] = catalog;
	return catalog;
}

void ng_catalogs_release(struct ng_catalogs *catalogs)
{
	for (size_t i = 0; i < catalogs->count; i++)
		catalog_free(catalogs->items[i]);
	free(catalogs->items);
	*catalogs = (struct ng_catalogs){0};
}
