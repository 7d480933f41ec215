"""Process 1 of every sandbox: receives one job, runs it as a child process and reports, all in frames.

Standard library only, Python 3.9 or newer, so that a bare image can run it. It is started as a folder,
``python -I -S .../supervisor``. It knows nothing of the bus, Docker or the rest of a run. Eleven parts and the object
that joins them:

==============  ==================================================================================================
``frames``      bytes to frames and back, and the window of unacknowledged output; the runner imports it
``link``        descriptors 0 and 1: frames from the runner and frames to it, sent again after each attach
``intake``      the job's bytes become files and a folder
``failure``     what keeps user code from starting, and which names are safe
``delivery``    the folders that the job brings along
``collection``  the folders that go back: what the script left in them, and its bytes when the runner asks
``child``       the script's process and all that it starts: start, signals, reaping
``pipes``       moves the script's output into frames
``meters``      what the job uses
``wakeups``     what ends the wait: a descriptor that is ready, a child that has ended, a deadline
``lean``        parts of the standard library, without what their packages import
``supervisor``  one job from waiting to exited, single-threaded around one ``poll``
==============  ==================================================================================================

**The border.** Descriptor 0 carries frames from the runner, descriptor 1 frames to it, descriptor 2 this process's
own complaints. User code gets none of the three: its output arrives through pipes. This process is not dumpable, so
user code of the same user cannot open it through /proc either. Nor can user code that is root, because it starts
without the capability for that. So a script cannot forge a frame.

**A frame** is a kind (1 byte), the payload's length (4 bytes, big endian) and the payload, at most
``FRAME_BYTES_MAX``. Control payloads are JSON objects; OUTPUT and EVENT carry a binary header.

**A mark** is ``MAGIC`` and 16 random bytes. In both directions the stream starts at its mark, wherever it
appears: everything before it is dropped, even half a frame. To this process the mark holds the sandbox's token,
which each new runner repeats. To the runner it holds the nonce of its ATTACH.

==========  ===========  =========================================================================================
direction   kind         payload
==========  ===========  =========================================================================================
to process  ATTACH       nonce (hex), acked {stdout, stderr, events}; first after every mark
1           JOB          argv, cwd, python, holds [{path, byte, python}], env, timeout_s, grace_s, dead_after_s,
                         sample_s, memory_bytes, cell_events, files [{env, name, size_bytes}],
                         answers [{env, name, bytes_max}]: files that the script may write,
                         folders [{env, name, is_writable, files [{path, size_bytes, is_executable,
                         modified_ns}], back {files_max, bytes_max, depth_max, path_bytes_max} or null}],
                         bundle {sha256, size_bytes} or null
            DATA         the files' bytes in order, then the bundle's, then the folders', cut anywhere
            BEAT         dead_after_s: without another beat in this time the job is stopped as orphaned, and
                         a sandbox that still waits for a job ends
            ACK          stdout, stderr (bytes), events (count): all below may be dropped
            STOP         reason, grace_s
            FETCH        tag, folder (its name), number (of the file in EXIT), offset, size_bytes; after EXIT only
to runner   SYNC         version, phase; first after every mark, then everything unacknowledged again
            STARTED      pid, at
            OUTPUT       stream (1 byte), offset of the first byte (8), unix time (8, double), bytes
            EVENT        number, from 0 (8), unix time (8, double), JSON as the script wrote it
            SAMPLE       at, cpu_cores, memory_bytes, memory_peak_bytes, memory_limit_bytes or null
            EXIT         exit_code, signal, reason, oom, message, at, memory_peak_bytes, cpu_s, files_bytes,
                         answers {name: {data (base64) or problem}}, folders {name: {files [{path, size_bytes,
                         is_executable, modified_ns}], problems, problems_total, is_missing}}; after all output
            PART         tag (4 bytes), whether it could be read (1 byte), bytes of the file or the problem
==========  ===========  =========================================================================================

**Back-pressure.** At most ``WINDOW_BYTES`` of output are unacknowledged. Beyond that the pipes are not read and the
script blocks, as on any full pipe. What is in a folder is read only when the runner fetches it, so a large folder
takes no memory here: the runner decides how much is on its way. In the other direction the pipe is the bound.

**The end.** When the script ends, the processes that it left running are killed, the rest of its output is read, and
EXIT is sent. It is sent again to every runner that attaches, until one removes the sandbox. Without beats the job is
stopped and this process ends with ``ORPHANED_EXIT_CODE``; so does a process that waits for a job and gets nothing
for ``IDLE_S``.
"""
