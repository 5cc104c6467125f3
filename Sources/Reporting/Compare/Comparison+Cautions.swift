import Choosing
import Measuring
import Records
import Statistics
import Units

extension Comparison {
  /// What else than the build differs between the runs and may explain a difference, one sentence
  /// each; empty when nothing is known to differ. Of builds run several times only the first are
  /// looked at.
  public var cautions: [String] {
    sameRun + machineDifferences + inputDifferences + bindingDifferences + namesakes
      + peakDifferences + noise
  }

  /// Peaks that differ by less are one machine in one state.
  private static let peakTolerance = 0.02

  /// Options that change the problem and are no column of `results.csv`: cells that differ in them
  /// are matched all the same.
  private static let inputOptions = [
    "--inputs", "--seed", "--scale", "--align", "--query-offset",
  ]

  private var sameRun: [String] {
    guard let first = a.rows.first, let second = b.rows.first, first.runID == second.runID else {
      return []
    }
    return ["A and B hold the same run, \(first.runID)"]
  }

  private var machineDifferences: [String] {
    guard let before = a.metadata, let after = b.metadata else { return [] }
    return [
      difference("machine", before.machine.summary, after.machine.summary),
      difference("governor", before.machine.governor, after.machine.governor),
      difference("BLAS", before.blas.summary, after.blas.summary),
      difference("instruction set", before.isaChosen, after.isaChosen),
    ].compactMap { $0 }
  }

  private var inputDifferences: [String] {
    guard let before = a.metadata?.options, let after = b.metadata?.options else { return [] }
    return Self.inputOptions.compactMap { option in
      difference(
        "inputs", before[option].map { "\(option) \($0)" } ?? "no \(option)",
        after[option].map { "\(option) \($0)" } ?? "no \(option)")
    }
  }

  private var bindingDifferences: [String] {
    var said: [String] = []
    for cell in cells {
      let (before, after) = (cell.a.row.placement, cell.b.row.placement)
      let text = difference("binding of \(Self.threads(before.threads))", before.bind, after.bind)
      if let text, !said.contains(text) { said.append(text) }
    }
    return said
  }

  /// Cells that are called alike and are not.
  private var namesakes: [String] {
    let names = Set(onlyInB.map(\.cellID))
    let alike = onlyInA.map(\.cellID).filter(names.contains)
    guard let first = alike.first else { return [] }
    return [
      "\(alike.count == 1 ? "1 cell is" : "\(alike.count) cells are") another problem in A than in "
        + "B (batch, heads, lengths, dimensions, element type or mask) and not compared: \(first)"
        + (alike.count > 1 ? ", ..." : "")
    ]
  }

  /// A line a thread count, with the sizes at which the peak was another.
  private var peakDifferences: [String] {
    let groups = Dictionary(grouping: cells) { $0.a.row.placement.threads }
    return groups.sorted { $0.key < $1.key }.compactMap { threads, cells in
      let sizes = Dictionary(grouping: cells) { $0.a.row.n }.sorted { $0.key < $1.key }
      let moved = sizes.compactMap { n, cells -> String? in
        let peaks = [cells.compactMap(\.a.peak), cells.compactMap(\.b.peak)]
        guard let before = SampleSummary(peaks[0])?.median,
          let after = SampleSummary(peaks[1])?.median
        else { return nil }
        let change = after / before - 1
        guard abs(change) > Self.peakTolerance else { return nil }
        let sign = change < 0 ? "-" : "+"
        return
          "\(SignificantDigits.three(before)) and \(SignificantDigits.three(after)) GFLOP/s at "
          + "n = \(SizeText.short(n)) (\(sign)\(SignificantDigits.three(100 * abs(change)))%)"
      }
      guard !moved.isEmpty else { return nil }
      let advice =
        rules.metric == .time
        ? "the machine was not in the same state; --metric pct_of_peak divides it out"
        : "divided out"
      return
        "different FMA peak of \(Self.threads(threads)): \(moved.joined(separator: ", ")); \(advice)"
    }
  }

  /// Cells whose intervals stayed wide, where they are many: somebody else used the machine.
  private var noise: [String] {
    [("A", a), ("B", b)].compactMap { name, run in
      let measured = run.rows.filter(\.status.isMeasured)
      let noisy = measured.count { $0.status == .noisy }
      guard noisy * 4 >= measured.count, noisy > 0 else { return nil }
      return
        "\(noisy) of \(measured.count) measured cells of \(name) are noisy: the machine was busy"
    }
  }

  private func difference(_ what: String, _ before: String?, _ after: String?) -> String? {
    before == after
      ? nil : "different \(what): \(before ?? "unknown") in A, \(after ?? "unknown") in B"
  }

  private static func threads(_ count: Int) -> String {
    count == 1 ? "1 thread" : "\(count) threads"
  }
}

extension RunMetadata.Machine {
  /// What makes it this machine.
  fileprivate var summary: String {
    let limit = cgroupCPUs.map { ", limited to \(SignificantDigits.three($0)) CPUs" } ?? ""
    return "\(hostname) (\(cpuModel), \(cores) cores, \(hardwareThreads) hardware threads\(limit))"
  }
}

extension RunMetadata.BLAS {
  /// Which code multiplies the matrices of the baseline.
  fileprivate var summary: String { "\(library) with its \(core) kernel" }
}
