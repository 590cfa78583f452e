#include "control/plane/places.h"

#define TEXTS_MAX 8 /* of one image; more are not looked at */

/* @return false: nothing is known to be there */
static bool find_mapped(const struct ng_images *images, const struct ng_mapping *mapping,
	uint64_t address, struct ng_place *ret_place)
{
	const struct ng_traced_image *image =
		ng_images_by_key(images, mapping->device, mapping->inode);
	const uint64_t offset = mapping->offset + (address - mapping->start);
	struct ng_text texts[TEXTS_MAX];
	size_t count;

	if (!image || !image->image)
		return false;
	count = ng_image_texts(image->image, texts, TEXTS_MAX);
	for (size_t i = 0; i < count && i < TEXTS_MAX; i++) {
		const int64_t start = ng_image_text_offset(image->image, texts[i].start);

		if (start < 0 || offset < (uint64_t)start ||
			offset - (uint64_t)start >= texts[i].size_bytes)
			continue;
		*ret_place = (struct ng_place){.image = image->image,
			.path = image->path,
			.address = texts[i].start + (offset - (uint64_t)start),
			.start = mapping->start,
			.end = mapping->end,
			.offset = mapping->offset};
		return true;
	}
	return false;
}

bool ng_place_find(const struct ng_images *images, const struct ng_mappings *mappings,
	uint64_t address, struct ng_place *ret_place)
{
	for (size_t i = 0; i < mappings->count; i++) {
		const struct ng_mapping *mapping = &mappings->items[i];

		if (address >= mapping->start && address < mapping->end)
			return find_mapped(images, mapping, address, ret_place);
	}
	return false;
}

const struct ng_site *ng_place_site(const struct ng_images *images, uint32_t number)
{
	for (size_t i = 0; i < images->count; i++) {
		const struct ng_traced_image *image = images->items[i];

		for (size_t k = 0; k < image->sites.count; k++) {
			if (image->numbers[k] == number)
				return &image->sites.items[k];
		}
	}
	return NULL;
}
