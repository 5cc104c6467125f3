import AttentionBench

/// The README.md of a folder of results.
struct ResultPage {
  private let kinds: [PeerComparison.Kind]
  private let changes: [BuildChange]
  private let metadata: RunMetadata

  init(
    _ kinds: [PeerComparison.Kind], samples: [SampleRow], hasSameBits: [String: Bool],
    metadata: RunMetadata
  ) {
    self.kinds = kinds
    self.metadata = metadata
    changes = BuildChange.all(kinds, samples: samples, hasSameBits: hasSameBits)
  }

  func text(title: String) -> String {
    let options = metadata.options.sorted { $0.key < $1.key }.map { "- \($0.key): \($0.value)\n" }
    return """
      # \(title)

      \(metadata.machine.cpuModel), \(metadata.machine.system). \(metadata.completed ? "" : "Not all work was done. ")\
      Every implementation ran in a process of its own on the same cores, in turns, its result checked \
      against fp64 before any time was kept.

      \(options.joined())
      ## Times

      Median times of interleaved rounds. A peer's cell is its time as a multiple of attnbench's. Percent \
      are of the line's ceiling, measured in the same rounds, useful work only: the peak of fp32 fused \
      multiply-adds, or where attnbench multiplies in bf16, that of bf16 dot products. A decoding step is \
      told in GB/s, every byte that must be read or written counted once; its ceiling is the read \
      bandwidth of memory, which caches can pass. `~` marks a median known no better than to 2 %, or from \
      few samples; a dash, that the library has no such function, or none for such tensors.

      \(RatioTable(kinds).text)\(changeText)\(unservedText)
      `results.csv` and `samples.csv` hold every row and sample, `curves/` the rows of each kind of work \
      that has several sizes, for `attnbench plot`.

      """
  }

  private var changeText: String {
    guard !changes.isEmpty else { return "" }
    return
      "\n## This build beside the other\n\nBoth took turns in the same rounds. Slower means that the "
      + "interval of the ratio lies above \(BuildChange.allowedRatio).\n\n"
      + BuildChange.table(changes)
  }

  private var unservedText: String {
    let unserved = kinds.flatMap(\.plan.unserved)
    guard !unserved.isEmpty else { return "" }
    // One line for all work that an implementation leaves out for one reason.
    let grouped = Dictionary(grouping: unserved) { [$0.implementation, $0.reason] }
    let lines = grouped.map { key, cases in
      "- \(key[0]): \(key[1]) (\(cases.map(\.work).joined(separator: ", ")))\n"
    }
    return "\n## Not served\n\n" + lines.sorted().joined()
  }
}
