"""Tables of docs/gpu.md."""

from experiments.tables.common import ROOT, caption, read, table

GPU_RESULT = "benchmarks/results/gpu.json"


def gpu():
    if not (ROOT / GPU_RESULT).exists():
        return "Not measured yet: `python benchmarks/gpu.py` writes the figures.\n"
    result = read(GPU_RESULT)
    assert result["gpu"] and not result["is_quick"], "figures of a CPU or of tiny Mixers are not for a page"
    parts = []
    for name, write in GPU_PARTS.items():
        found = result["parts"].get(name, {"error": "not run"})
        parts += [f"**Failed: {name}.** {found['error']}\n"] if "error" in found else []
        try:
            parts.append(write(found))
        except KeyError:  # a part that failed early lacks figures
            assert "error" in found
    return "\n".join(parts) + f"\n{caption(result)}"


def gpu_logits(found):
    """Return the table of the largest differences from the CPU's logits in float32."""
    rows = [
        (variant, *(f"{part['largest_relative_difference']:.1e}" for part in precisions.values()))
        for variant, precisions in found["variants"].items()
        if "left_out" not in precisions
    ]
    left_out = "".join(
        f"{variant} was left out: {precisions['left_out']}.\n"
        for variant, precisions in found["variants"].items()
        if "left_out" in precisions
    )
    heading = "Largest difference of a logit from the CPU's in float32, relative to the largest logit:\n\n"
    return heading + table(("Mixer", "float32", "float32 with TF32", "bfloat16"), rows) + left_out


def gpu_inference(found):
    """Return the tables of images per second: on the device, and from NumPy to NumPy."""
    rows = [
        (
            *(row["variant"], str(row["batch_size"]), row["contestant"], f"{row['images_per_second']:,.0f}"),
            f"{row['teraflops'] / found['matrix_product_teraflops']:.0%}",
            "" if row["reference"] is None else f"{row['speed_ratio']:.2f} × {row['reference']}",
        )
        for row in found["rows"]
    ]
    columns = (
        "Mixer",
        "batch",
        "bfloat16",
        "images/s",
        "share of large matrix products",
        "speed-up over timm's fastest",
    )
    whole = [
        (
            *(row["variant"], str(row["batch_size"])),
            *(f"{row['images_per_second'][name]['median']:,.0f}" for name in ("default", "exact")),
        )
        for row in found["forward"]
    ]
    left_out = "".join(f"Left out: {name}: {reason}.\n" for name, reason in found["left_out"].items())
    return (
        f"{table(columns, rows)}\n{left_out}\nFrom NumPy to NumPy, copies included, images/s:\n\n"
        f"{table(('Mixer', 'batch', 'default', '`exact`'), whole)}"
    )


def gpu_training(found):
    """Return the table of training steps."""
    rows = [
        (
            *(mixer, row["contestant"], str(row["batch_size"]), f"{row['images_per_second']:,.0f}"),
            f"{row['peak_mebibytes']:,}" if "peak_mebibytes" in row else "",  # not of a CPU
            ", ".join(f"{ratio:.2f} × over {other}" for other, ratio in row["speed_ratio"].items()),
        )
        for mixer, measured in found["mixers"].items()
        for row in measured
    ]
    columns = ("Mixer", "implementation", "batch", "images/s", "peak memory, MiB", "speed-up")
    return f"Training steps in bfloat16:\n\n{table(columns, rows)}"


def gpu_processes(found):
    """Return the table of losses of several processes, each compared with those of one process."""
    rows = [
        (precision, name, outcome.get("error") or f"{outcome['largest_relative_difference']:.1e}")
        for precision, outcomes in found["losses"].items()
        for name, outcome in outcomes.items()
        if "error" in outcome or "largest_relative_difference" in outcome
    ]
    columns = ("precision", "processes", "largest relative difference of a loss from one process's")
    left_out = f"\nLeft out: {found['left_out']}.\n" if "left_out" in found else ""
    return table(columns, rows) + left_out


def gpu_resume(found):
    """Return a sentence about each comparison of two runs."""
    texts = {
        "two_whole_runs": "Two runs that were never stopped",
        "resumed_and_whole": "A resumed run and one never stopped",
    }
    return "".join(
        f"{text}: "
        + (
            f"the same bits in all {found[key]['num_tensors']} tensors.\n"
            if found[key]["same_bits"]
            else f"{found[key]['num_differing']} of {found[key]['num_tensors']} tensors differ, by up to "
            f"{found[key]['largest_difference']:.1e}.\n"
        )
        for key, text in texts.items()
    )


def gpu_feeding(found):
    """Return the table of the input's rates."""
    names = ("input", "step", "together")
    rows = [
        (
            {"stream": "decoded in every epoch", "memory": "kept in memory"}[storage],
            *(f"{rates[f'{name}_images_per_second']:,.0f}" for name in names),
            f"{rates['waiting_share']:.0%}",
        )
        for storage, rates in found["storage"].items()
    ]
    columns = ("photos", "input alone, images/s", "steps alone", "together", "share of the time that steps wait")
    return f"RandAugment and S/16, {found['num_threads']} threads:\n\n{table(columns, rows)}"


GPU_PARTS = {
    "logits": gpu_logits,
    "inference": gpu_inference,
    "training": gpu_training,
    "processes": gpu_processes,
    "resume": gpu_resume,
    "feeding": gpu_feeding,
}


TABLES = {"gpu": gpu}
