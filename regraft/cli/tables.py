"""Results as text."""

from __future__ import annotations

from typing import Any


def run_table(summary: dict[str, Any]) -> str:
    """The table that ends `regraft run`: models and baselines, then decision and report."""
    metrics = summary["metrics"]
    rows = [(who, metrics[who]) for who in ("teacher", "student") if who in metrics]
    rows += list(metrics["baselines"].items())
    splits = [name for name in metrics["teacher"] if "accuracy" in _dict(metrics["teacher"][name])]
    width = max(10, *(len(who) for who, _ in rows))
    lines = [
        "",
        f"{'model':<{width}} {'split':<22} {'n':>5} {'accuracy (95 %)':<22} "
        f"{'macro-F1':>8} {'ECE':>6} {'per s':>7}",
    ]
    for who, figures in rows:
        served = who == summary["served"]
        shown = f"{who + ('*' if served else ''):<{width}}"
        for split in (s for s in splits if s in figures and (served or ": " not in s)):
            lines.append(_line(shown, split, figures))
    student = metrics.get("student", {})
    if student.get("retention"):
        lines.append(
            f"\nstudent: {student['retention']:.1%} of the teacher's accuracy at "
            f"{student['speedup']:.1f}x its throughput"
        )
    search = student.get("search", {})
    if search.get("retention"):
        lines.append(
            f"its search: {search['retention']:.1%} of the teacher's recall@1 at "
            f"{search['speedup']:.1f}x the throughput of the encoder"
        )
    decision = summary["decision"]
    lines += [
        f"decision: {decision['outcome']} - {decision['reason']}",
        f"* registered as {summary['recipe']} version {decision['candidate_version']}; "
        + _champion(decision),
        f"cost: {summary['seconds']:.0f} s, {summary['cpu_seconds']:.0f} CPU seconds",
        f"report: {summary['reports']['evaluation']}",
    ]
    return "\n".join(lines)


def cost_table(found: dict[str, Any]) -> str:
    """The lines of `regraft bench cost`."""
    accuracy = ", ".join(f"{who} {value:.1%}" for who, value in found["accuracy"].items())
    return "\n".join(
        [
            f"pipeline {found['pipeline_cpu_seconds']:8.1f} CPU s, {accuracy}",
            f"loop     {found['loop_cpu_seconds']:8.1f} CPU s, {found['loop_accuracy']:.1%}",
            f"ratio    {found['ratio']:8.2f}",
            f"neither training nor inference: {found['share_not_training_or_inference']:.1%} "
            f"of {found['wall_seconds']:.0f} s",
        ]
    )


def bench_table(rows: list[dict[str, Any]]) -> str:
    """The lines of `regraft bench shots` and `regraft bench strategies`."""
    width = max(len(row["cell"]) for row in rows)
    lines = [f"{'cell':<{width}}  {'mean (95 %)':<22} {'figure':<16} {'CPU s':>7} {'seeds':>5}"]
    for row in rows:
        if row["mean"] is None:
            lines.append(f"{row['cell']:<{width}}  failed: {row['error']}")
            continue
        found = f"{row['mean']:.3f}"
        found += "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
        lines.append(
            f"{row['cell']:<{width}}  {found:<22} {row['metric']:<16} {row['cpu_seconds']:>7.1f} "
            f"{row['seeds']:>5}" + (f"  a seed failed: {row['error']}" if "error" in row else "")
        )
    return "\n".join(lines)


def added_class_table(found: dict[str, Any]) -> str:
    """The lines of `regraft add-class`."""
    old, new, decision = found["old_classes"], found["new_class"], found["decision"]
    low, high = old["interval_pp"]
    return "\n".join(
        [
            f"{found['label']}: {new['accuracy']:.1%} [{new['low']:.1%}, {new['high']:.1%}] "
            f"of {new['count']} photos, each unseen by the head that answered",
            f"known classes: {old['champion_accuracy']:.1%} -> {old['accuracy']:.1%} of "
            f"{old['count']} test photos, a loss of {old['drop_pp']:.1f} points "
            f"[{low:.1f}, {high:.1f}]",
            f"decision: {decision['outcome']} - {decision['reason']}",
            f"registered as version {decision['candidate_version']}; {_champion(decision)}",
        ]
    )


def export_table(found: dict[str, Any]) -> str:
    """The lines of `regraft export`."""
    lines = [f"{found['file']}: {found['bytes']:,} bytes, opset {found['opset']}"]
    for kind in ("float", "int8"):
        parity = found[kind]
        if parity:
            line = (
                f"{kind:<5} on {found['photos']} photos: logits within "
                f"{parity['max_logit_difference']:.2g}, {parity['agreement']:.1%} the same answer"
            )
            if found["labelled"]:
                line += (
                    f", accuracy {parity['accuracy']:.1%}, "
                    f"a loss of {parity['accuracy_drop_pp']:.1f} points"
                )
            lines.append(line)
    return "\n".join(lines)


def sequence_table(found: dict[str, Any]) -> str:
    """The lines of `regraft sequence`: of each method the accuracy on every task after each task,
    then what these come to."""
    names = [task["name"] for task in found["tasks"]]
    width = max(12, *(len(name) for name in names))
    lines = []
    for method, one in found["methods"].items():
        shown = method + ("*" if method == found["method"] else "")
        lines += ["", f"{shown:<20} " + " ".join(f"{name:>{width}}" for name in names)]
        for after, row in zip(names, one["accuracy"], strict=True):
            lines.append(f"  after {after:<12} " + " ".join(f"{x:>{width}.1%}" for x in row))
    columns = ("average_accuracy", "backward_transfer", "forward_transfer", "forgetting")
    heads = ("average", "backward", "forward", "forgetting", "below joint", "remembered")
    lines += ["", f"{'':<12} " + " ".join(f"{head:>11}" for head in heads)]
    for method, one in found["methods"].items():
        figures = [f"{100 * one[name]:.1f}" for name in columns]
        below = one.get("below_joint_pp")
        figures += ["" if below is None else f"{below:.1f}", str(one["remembered"])]
        lines.append(f"{method:<12} " + " ".join(f"{value:>11}" for value in figures))
    return "\n".join([*lines[1:], "in points of accuracy; remembered: examples at the end"])


def serving_table(found: dict[str, Any]) -> str:
    """The lines of `regraft bench serve`."""
    columns = {
        "requests_per_second": "answers/s",
        "p50_ms": "p50 ms",
        "p95_ms": "p95 ms",
        "p99_ms": "p99 ms",
        "cpu_ms_per_answer": "CPU ms each",
        "failed": "failed",
    }
    heads = " ".join(f"{head:>11}" for head in columns.values())
    lines = [f"{'server':<20} {'clients':>7} {heads}"]
    for row in found["rows"]:
        figures = " ".join(f"{row.get(key, '-'):>11}" for key in columns)
        lines.append(f"{row['server']:<20} {row['clients']:>7} {figures}")
    overhead = found["batching_overhead_ms"]
    return "\n".join([*lines, f"the queue adds {overhead:.2f} ms to a call that is alone"])


def _line(who: str, split: str, figures: dict[str, Any]) -> str:
    found = figures[split]
    low, high = found["interval"]["accuracy"]
    interval = f"{found['accuracy']:6.1%} [{low:.1%}, {high:.1%}]"
    speed = figures.get("cost", {}).get("throughput_per_second")
    return (
        f"{who} {split:<22} {found['count']:>5} {interval:<22} {found['macro_f1']:>8.3f} "
        f"{found['ece']:>6.3f} {f'{speed:.1f}' if speed else '':>7}"
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def drift_table(rows: list[dict[str, Any]]) -> str:
    """The lines of `regraft bench drift`, and below which monitor fires
    in how many windows, and how soon each would alarm if it were the only one."""
    lines = [
        f"{'stream':<12} {'windows':>7}  {'shifted (95 %)':<22} {'alarmed (95 %)':<22} "
        f"{'streams alarmed':<22} {'delay':>5}  {'within 2 windows'}"
    ]
    for row in rows:
        soon = _share(row["soon"]) if "soon" in row else ""
        lines.append(
            f"{row['stream']:<12} {row['windows']:>7}  {_share(row['shifted_windows']):<22} "
            f"{_share(row['alarmed_windows']):<22} {_share(row['alarmed_streams']):<22} "
            f"{_windows(row.get('delay')):>5}  {soon}".rstrip()
        )
    names = list(rows[0]["seen_by"])
    lines += ["", f"{'fired in':<12} " + " ".join(f"{name:>12}" for name in names)]
    for row in rows:
        shares = " ".join(f"{row['seen_by'].get(name, 0):>12.1%}" for name in names)
        lines.append(f"{row['stream']:<12} {shares}")
    lines += ["", f"{'delay alone':<12} " + " ".join(f"{name:>12}" for name in names)]
    for row in rows:
        if "delay_alone" in row:
            delays = " ".join(f"{_windows(row['delay_alone'].get(name)):>12}" for name in names)
            lines.append(f"{row['stream']:<12} {delays}")
    return "\n".join(lines)


def _share(value: dict[str, Any]) -> str:
    low, high = value["interval"]
    return f"{value['share']:.1%} [{low:.1%}, {high:.1%}]"


def _windows(delay: float | None) -> str:
    return "-" if delay is None else format(delay, "g")


def _champion(decision: dict[str, Any]) -> str:
    version = decision["champion_after"]
    return f"the champion is version {version}" if version else "there is no champion"
