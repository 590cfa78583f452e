"use strict";
// What is shown stands in the address, "#s=regex&z=number of a frame", and nowhere else.
(() => {
	const near = 0.001; // px: places are rounded, frames are at least 0.1 px wide
	const frames = [...document.querySelectorAll("#frames > svg")].map((element, number) => ({
		element,
		number,
		name: element.querySelector("text").textContent,
		row: Number(element.getAttribute("y")),
		start: Number(element.getAttribute("x")),
		width: Number(element.getAttribute("width")),
	}));
	const root = frames[0];
	const byPlace = [...frames].sort((a, b) => a.start - b.start || a.row - b.row);
	const byElement = new Map(frames.map((frame) => [frame.element, frame]));
	const input = document.querySelector("input");
	const found = document.getElementById("found");
	const reset = document.getElementById("reset");

	function holds(outer, inner) {
		return outer.row <= inner.row && outer.start <= inner.start + near &&
			outer.start + outer.width >= inner.start + inner.width - near;
	}

	function zoom(shown) {
		for (const frame of frames) {
			const isOuter = frame !== shown && holds(frame, shown);
			const isShown = isOuter || holds(shown, frame);
			const scale = root.width / shown.width;

			frame.element.classList.toggle("outer", isOuter);
			frame.element.classList.toggle("elsewhere", !isShown);
			frame.element.setAttribute("x", isOuter ? 0 : (frame.start - shown.start) * scale);
			frame.element.setAttribute("width", isOuter ? root.width : frame.width * scale);
		}
	}

	function search(pattern) {
		let regex = null, count = 0, width = 0, end = -1;

		try {
			regex = pattern ? new RegExp(pattern) : null;
			found.textContent = "";
		} catch (error) {
			found.textContent = error.message;
		}
		for (const frame of byPlace) {
			const isFound = regex !== null && frame !== root && regex.test(frame.name);

			frame.element.classList.toggle("found", isFound);
			count += isFound;
			if (isFound && frame.start >= end - near) { // within none that counts already
				width += frame.width;
				end = frame.start + frame.width;
			}
		}
		if (regex !== null)
			found.textContent = `${count} frames match, with ` +
				`${(100 * width / root.width).toFixed(1)} % of all calls`;
	}

	function state() {
		return new URLSearchParams(location.hash.slice(1));
	}

	function show() {
		const pattern = state().get("s") || "";
		const shown = frames[Number(state().get("z"))] || root;

		if (input.value !== pattern)
			input.value = pattern;
		search(pattern);
		zoom(shown);
		reset.style.visibility = pattern || shown !== root ? "visible" : "hidden";
	}

	function changed(key, value) {
		const next = state();

		if (value)
			next.set(key, value);
		else
			next.delete(key);
		return "#" + next;
	}

	document.getElementById("frames").addEventListener("click", (event) => {
		const frame = byElement.get(event.target.closest("#frames > svg"));

		if (frame)
			location.hash = changed("z", frame.number);
	});
	input.addEventListener("input", () => location.replace(changed("s", input.value)));
	reset.addEventListener("click", () => { location.hash = ""; });
	window.addEventListener("hashchange", show);
	show();
})();
