import Records
import Statistics
import Units

/// A plan's workspace as it is declared, beside what the process grew by while the plan was made
/// and run for the first time.
///
/// The two cannot agree to the byte, and the tolerance is what is known of the difference:
/// - whole pages, and a slice of the allocator's own for every block (16 KiB at most, a few blocks a
///   thread);
/// - the kernel counts resident pages per CPU and adds them up in batches of 32 pages or twice the
///   number of CPUs, whichever is more, so a figure lags by that much a CPU;
/// - OpenBLAS touches a copying buffer a thread, up to 1 MiB for the blocks used here, in its first
///   call;
/// - memory that was freed before may be reused without growing; the allocator is asked to give it
///   back first, and what stays is less than a page a block.
struct MemoryGrowth {
  /// What the plan declares, in bytes.
  let declared: Int
  /// What the resident set grew by at its peak, in bytes.
  let measured: Int
  /// How many threads run the plan.
  let threads: Int

  /// A twentieth, and 1 MiB a thread and one more for what does not depend on the size.
  private var tolerance: Int { declared / 20 + (threads + 1) << 20 }

  /// What does not agree, with both figures; nil when they do.
  var difference: String? {
    let figures =
      "the plan declares a workspace of \(ByteCount(declared).rounded) and memory grew by "
      + ByteCount(measured).rounded
    if measured > declared + tolerance {
      return "\(figures): it uses memory that --max-memory does not know of"
    }
    if measured < declared - tolerance {
      return "\(figures): it declares memory that it does not use, or the system swapped"
    }
    return nil
  }
}
