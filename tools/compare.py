#!/usr/bin/env python3
"""Holds one folder of .crate files in every way at hand, and prints a table.

    tools/compare.py FOLDER [--cratehold PROGRAM] [--index DIR] [--skip NAME]... [--svg FILE]

Needs Python's standard library; each other program is used if it is installed
(zstd, xz, mksquashfs with unsquashfs, borg, restic, zpaq). All but the loose files and
cratehold are given the crates' tars or source trees, not the .crate files, which
hardly compress: from those neither can the exact .crate bytes be given back.
"""

import argparse
import gzip
import html
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time


# What takes longer to give one crate back is asked for it once.
SLOW_SECONDS = 10


def run(command, cwd=None, stdout=subprocess.DEVNULL):
    env = dict(os.environ, BORG_UNENCRYPTED_REPO_ACCESS_IS_OK="yes", RESTIC_PASSWORD="x",
               BORG_BASE_DIR=str(pathlib.Path(tempfile.gettempdir()) / "compare-borg"))
    result = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=stdout,
                            stderr=subprocess.PIPE)
    if result.returncode != 0:
        raise RuntimeError(f"{command[0]}: {result.stderr.decode(errors='replace').strip()[:300]}")


def bytes_of(path):
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def shell(text):
    return ["sh", "-c", text]


class Compare:
    def __init__(self, folder, cratehold, work):
        self.crates = sorted(folder.rglob("*.crate"))
        if not self.crates:
            sys.exit(f"{folder}: expected .crate files, found none")
        self.folder, self.cratehold, self.work = folder, cratehold, work
        self.rows = []
        self.tars, self.trees = work / "tars", work / "trees"
        self.tars.mkdir()
        self.trees.mkdir()
        self.tar_bytes = 0
        for crate in self.crates:
            content = gzip.decompress(crate.read_bytes())
            self.tar_bytes += len(content)
            tar = self.tars / (crate.stem + ".tar")
            tar.write_bytes(content)
            with tarfile.open(tar) as opened:
                opened.extractall(self.trees, filter="data")
        # The one crate to give back: of middling size, and not the first.
        by_size = sorted(self.crates, key=lambda path: path.stat().st_size)
        self.one = by_size[len(by_size) // 2]

    def measure(self, name, store, held, give_back, give_all_back, note):
        started = time.monotonic()
        store()
        stored = time.monotonic() - started
        times = []
        for _ in range(5):
            started = time.monotonic()
            give_back()
            times.append(time.monotonic() - started)
            if times[-1] > SLOW_SECONDS:
                break
        out = self.work / "all-back"
        out.mkdir()
        started = time.monotonic()
        give_all_back(out)
        all_back = time.monotonic() - started
        shutil.rmtree(out)
        crate_bytes = sum(path.stat().st_size for path in self.crates)
        held_bytes = bytes_of(held)
        self.rows.append((name.replace("`", "").replace("*", ""), held_bytes))
        print(f"| {name} | {held_bytes / 1e6:.1f} MB | {crate_bytes / held_bytes:.2f} "
              f"| {stored:.1f} s | {sorted(times)[len(times) // 2] * 1e3:.1f} ms | {all_back:.1f} s | {note} |", flush=True)

    def loose(self):
        copy = self.work / "loose"
        self.measure("loose `.crate` files", lambda: shutil.copytree(self.folder, copy), copy,
                     lambda: run(["cat", str(copy / self.one.relative_to(self.folder))]),
                     lambda out: shutil.copytree(copy, out / "files"), "exact")

    def archive(self, name, folder, *commands):
        archive = self.work / folder
        crate, version = self.release()

        def call(*words):
            run([self.cratehold, "-a", str(archive), *words])

        self.measure(name, lambda: [call(*command) for command in commands], archive,
                     lambda: call("extract", f"{crate}@{version}", "-o", "-"),
                     # Every crate file rebuilt and its SHA-256 checked, and not written.
                     lambda out: call("verify", "--full"), "exact")

    def solid(self, name, pack, unpack, suffix):
        held = self.work / f"solid.{suffix}"
        tar = f"{self.one.stem}.tar"
        self.measure(name, lambda: run(shell(f"tar -cf - --sort=name . | {pack} > {held}"), cwd=self.tars), held,
                     lambda: run(shell(f"{unpack} {held} | tar -xOf - ./{tar}")),
                     lambda out: run(shell(f"{unpack} {held} | tar -xf -"), cwd=out), "tars")

    def zpaq(self):
        held = self.work / "tars.zpaq"
        self.measure("zpaq -m5", lambda: run(["zpaq", "add", str(held), ".", "-m5"], cwd=self.tars), held,
                     lambda: run(["zpaq", "extract", str(held), f"{self.one.stem}.tar", "-to",
                                  str(self.work / "zpaq-out"), "-force"]),
                     lambda out: run(["zpaq", "extract", str(held), "-to", str(out), "-force"]), "tars")

    def squashfs(self):
        held = self.work / "trees.squashfs"
        self.measure("squashfs, zstd 19, 1 MiB blocks",
                     lambda: run(["mksquashfs", str(self.trees), str(held), "-comp", "zstd", "-Xcompression-level", "19",
                                  "-b", "1M", "-no-progress"]), held,
                     lambda: run(["unsquashfs", "-q", "-f", "-d", str(self.work / "squash-out"), str(held), self.tree()]),
                     lambda out: run(["unsquashfs", "-q", "-f", "-d", str(out), str(held)]), "trees")

    def borg(self):
        held = self.work / "borg"
        def store():
            run(["borg", "init", "-e", "none", str(held)])
            run(["borg", "create", "-C", "zstd,19", "--chunker-params", "12,20,15,4095", f"{held}::all", "."], cwd=self.trees)
        out = self.work / "borg-out"
        out.mkdir()
        self.measure("borg, zstd 19, small chunks", store, held,
                     lambda: run(["borg", "extract", f"{held}::all", self.tree()], cwd=out),
                     lambda out: run(["borg", "extract", f"{held}::all"], cwd=out), "trees")

    def restic(self):
        held = self.work / "restic"
        def store():
            run(["restic", "-r", str(held), "init"])
            run(["restic", "-r", str(held), "backup", "--compression", "max", "."], cwd=self.trees)
        self.measure("restic, max", store, held,
                     lambda: run(["restic", "-r", str(held), "restore", "latest", "--include", self.tree(), "--target",
                                  str(self.work / "restic-out")]),
                     lambda out: run(["restic", "-r", str(held), "restore", "latest", "--target", str(out)]), "trees")

    def tree(self):
        return self.one.stem

    def release(self):
        return release_of(self.one)


def release_of(crate):
    stem = crate.stem
    at = next(i for i, c in enumerate(stem) if c == "-" and stem[i + 1:i + 2].isdigit() and "." in stem[i + 1:])
    return stem[:at], stem[at + 1:]


def chart(rows):
    """The ladder as an SVG: a bar for each way, by bytes."""
    left, width, step = 300, 420, 26
    most = max(held_bytes for _, held_bytes in rows)
    lines = []
    for i, (name, held_bytes) in enumerate(rows):
        y, bar = 10 + i * step, max(1, held_bytes * width // most)
        fill = "#b7410e" if name.startswith("cratehold") else "#8a8f98"
        lines.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{html.escape(name)}</text>'
                     f'<rect x="{left}" y="{y}" width="{bar}" height="{step - 6}" fill="{fill}"/>'
                     f'<text x="{left + bar + 6}" y="{y + 14}">{held_bytes / 1e6:.1f} MB</text>')
    height = 20 + len(rows) * step
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{height}" '
            f'font-family="sans-serif" font-size="13" fill="#5a5f68">\n' + "\n".join(lines) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--cratehold", default="target/release/cratehold", help="the program to measure")
    parser.add_argument("--skip", action="append", default=[], help="a way to leave out, such as xz")
    parser.add_argument("--index", type=pathlib.Path, help="a registry index folder for cratehold: its lines count too")
    parser.add_argument("--svg", type=pathlib.Path, help="write the table as a chart too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        compare = Compare(args.folder.resolve(), os.path.abspath(args.cratehold), pathlib.Path(work))
        print(f"{len(compare.crates)} crate files, {compare.tar_bytes / 1e6:.1f} MB of tar; one crate: {compare.one.stem}\n")
        print("| | bytes | times smaller | store | one back | all back | gives back |\n|---|---|---|---|---|---|---|")
        take_in = ["import", str(compare.folder)]
        if args.index:
            take_in += ["--index", str(args.index.resolve())]
        ways = [
            ("loose", "cat", compare.loose),
            ("cratehold", compare.cratehold, lambda: compare.archive("cratehold, level 1", "fast", [*take_in, "--level", "1"])),
            ("cratehold", compare.cratehold, lambda: compare.archive("**cratehold, default level**", "default", take_in)),
            ("optimize", compare.cratehold,
             lambda: compare.archive("**cratehold, optimized**", "optimized", take_in, ["optimize"])),
            ("restic", "restic", compare.restic),
            ("borg", "borg", compare.borg),
            ("squashfs", "mksquashfs", compare.squashfs),
            ("zstd", "zstd", lambda: compare.solid("all tars in one stream, zstd -22 --long=31",
                                                   "zstd --ultra -22 --long=31 -T1 -q", "zstd -dcq --long=31", "zst")),
            ("xz", "xz", lambda: compare.solid("all tars in one stream, xz -9e", "xz -9e -T1", "xz -dc", "xz")),
            ("zpaq", "zpaq", compare.zpaq),
        ]
        for name, program, way in ways:
            if name in args.skip:
                continue
            if shutil.which(program) is None:
                print(f"{name}: not installed, left out", file=sys.stderr)
                continue
            try:
                way()
            except RuntimeError as error:
                print(f"{name}: {error}", file=sys.stderr)
        if args.svg and compare.rows:
            args.svg.write_text(chart(compare.rows))


if __name__ == "__main__":
    main()
