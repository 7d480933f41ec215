"""Process 1 of every sandbox: it takes one job, runs it as its child and reports, all in frames.

Standard library only, Python 3.9 or newer, so that a bare image can run it; started as a folder,
``python -I -S .../supervisor``. The bus, Docker and everything else about a run may not appear here. Seven parts and
the object that joins them:

==============  ==================================================================================================
``frames``      bytes to frames and back, and the window of unacknowledged output; the runner imports it
``link``        descriptors 0 and 1: what the runner says, and what it is told, again after each attach
``intake``      the job's bytes become files and a folder
``child``       the script's process, and all that it starts: start, signals, reaping
``pipes``       what the script writes, on its way into frames
``meters``      what the job uses
``wakeups``     what ends the wait: a descriptor that is ready, a child that has ended, a deadline
``supervisor``  one job from waiting to exited, single-threaded around one ``poll``
==============  ==================================================================================================

**The border.** Descriptor 0 brings frames from the runner, descriptor 1 takes frames to it, descriptor 2 takes
this process's own complaints. User code gets none of the three: its output arrives through pipes, and this
process is not dumpable, so user code of the same user cannot open it through /proc either; nor can user code that
is root, because it is started without the capability for that. Hence a script cannot forge a frame.

**A frame** is a kind (1 byte), the payload's length (4 bytes, big endian) and the payload, at most
``FRAME_BYTES_MAX``. Control payloads are JSON objects; OUTPUT and EVENT carry a binary header.

**A mark** is ``MAGIC`` and 16 random bytes. In either direction the stream starts at its mark, wherever it
appears: everything before it is dropped, even half a frame. Towards this process the mark holds the sandbox's
token, repeated by each new runner. Towards the runner it holds the nonce of its ATTACH.

==========  ===========  =========================================================================================
direction   kind         payload
==========  ===========  =========================================================================================
to process  ATTACH       nonce (hex), acked {stdout, stderr, events}; first after every mark
1           JOB          argv, cwd, python, holds [{path, byte, python}], env, timeout_s, grace_s, dead_after_s,
                         sample_s, memory_bytes, cell_events, files [{env, name, size_bytes}],
                         bundle {sha256, size_bytes} or null
            DATA         the files' bytes in their order, then the bundle's, cut anywhere
            BEAT         dead_after_s: without another beat in this time the job is stopped as orphaned, and
                         a sandbox that still waits for one ends
            ACK          stdout, stderr (bytes), events (count): all below may be forgotten
            STOP         reason, grace_s
to runner   SYNC         version, phase; first after every mark, then all that is unacknowledged once more
            STARTED      pid, at
            OUTPUT       stream (1 byte), offset of the first byte (8), unix time (8, double), bytes
            EVENT        number, from 0 (8), unix time (8, double), JSON as the script wrote it
            SAMPLE       at, cpu_cores, memory_bytes, memory_peak_bytes, memory_limit_bytes or null
            EXIT         exit_code, signal, reason, oom, message, at, memory_peak_bytes, cpu_s; after all output
==========  ===========  =========================================================================================

**Back-pressure.** At most ``WINDOW_BYTES`` of output are unacknowledged; then the pipes are not read and the
script blocks, as on any full pipe.

**The end.** When the script ends, whatever it left running is killed, the rest of its output is read, and EXIT
is sent; it is sent again to every runner that attaches, until one removes the sandbox. Without beats the job is
stopped and this process ends with ``ORPHANED_EXIT_CODE``; so does one that waits for a job and hears nothing for
``IDLE_S``.
"""
