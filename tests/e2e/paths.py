"""The paths of tests/go/paths: what it says of its calls, so that it can be compared with what nowgate says."""
import collections

from harness import TOP

SOURCE = TOP / "tests" / "go" / "paths" / "main.go"
CALLS = 10  # on the first path; 228 times that on all
FRAMES = 120  # so many are compared: 127 addresses are recorded of a stack


def comparable(frames):
    """What is told of a stack from Go's side: where C called back into Go, the two stacks are told differently."""
    for i, frame in enumerate(frames):
        if frame[0].startswith("runtime.cgocallback"):
            frames = frames[:i]
            break
    return tuple(frames[:FRAMES])


def marks():
    lines = SOURCE.read_text().splitlines()
    return {line.split("// mark: ")[1]: i + 1 for i, line in enumerate(lines) if "// mark: " in line}


def expected(truth):
    places, sums = marks(), collections.Counter()
    for path in truth:
        frames = [(frame["function"], frame["file"], frame["line"]) for frame in path["frames"]]
        inlined = [(name, frames[0][1], places[name]) for name in path["inlined"].split()]
        sums[comparable(inlined + frames)] += path["calls"]
    return sums
