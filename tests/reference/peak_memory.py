"""The peak of a process's memory, for programs that tests run in processes of their own."""

# Not resource.getrusage's ru_maxrss, which begins with the peak of the process that started this one: pytest's.
PEAK_MEMORY = """
def peak_memory():
    '''Bytes; Linux alone.'''
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))

def forget_peak_memory():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
"""
