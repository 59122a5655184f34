"""All captures with what each shows and what must be found in it."""

import json

from . import store


class Book:
    """Files by their path in this folder."""

    def __init__(self):
        self.files = {}
        self.entries = []

    def add(self, path, shows, data, **truth):
        """Adds a file and its truth.

        `findings` has for a kind the flows and the sum of counts; a kind of a credential or of a mismatch that
        is not named must not be found. `uninspected`, `stopped` and `roles` are exact where they are given.
        """
        assert path not in self.files, path
        self.files[path] = data
        self.entries.append((path, shows, truth))

    def pcap(self, path, shows, capture, flows, findings=None, link=store.ETHERNET, **truth):
        """Adds a capture as a pcap file with microseconds."""
        frames = capture.by_time()
        truth = {"frames": len(frames), "flows": flows, "findings": findings or {}, **truth}
        self.add(path, shows, store.pcap(frames, link), **truth)

    def truth(self):
        """Returns truth.json."""
        lines = [f" {json.dumps(path)}: {json.dumps(truth)}" for path, _, truth in sorted(self.entries)]
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()

    def readme(self, top):
        """Returns README.md: the text above it and the index."""
        lines = [top.strip()]
        folder = None
        for path, shows, truth in self.entries:
            here = path.rpartition("/")[0]
            if here != folder:
                folder = here
                lines += ["", f"## {folder + '/' if folder else 'demo'}", ""]
                lines += ["| file | shows | must be found |", "|---|---|---|"]
            lines.append(f"| `{path.rpartition('/')[2]}` | {shows} | {must(truth)} |")
        return ("\n".join(lines) + "\n").encode()


def must(truth):
    """Says in words what must be found."""
    words = [f"{kind} {sum_['count']} in {counted(sum_['flows'], 'flow')}"
             for kind, sum_ in truth.get("findings", {}).items()]
    words += [f"{reason} {count}" for key in ("uninspected", "stopped")
              for reason, count in truth.get(key, {}).items()]
    if truth.get("broken"):
        words.append("broken, with its offset")
    if truth.get("exit") in (2, 3):
        words.append("unreadable" if truth["exit"] == 2 else "inconclusive")
    flows = [counted(truth["flows"], "flow")] if "flows" in truth else []
    return "; ".join(flows + (words or ["nothing"]))


def counted(count, word):
    """Returns a number and its word."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def found(count=1, flows=1):
    """Returns what is found of a kind."""
    return {"flows": flows, "count": count}


def bearers(count=1, flows=1, **more):
    """Returns bearer tokens in clear, and other kinds by name with `_` for `-`."""
    others = {kind.replace("_", "-"): sum_ for kind, sum_ in more.items()}
    return {"plaintext-bearer": found(count, flows), **others}
