/// Reads and writes lists of non-negative numbers as Linux does: `0-3,8`.
enum IndexList {
  /// No Linux kernel numbers more CPUs, cores or nodes than this; the bound keeps a mistyped
  /// range from filling the memory.
  static let largestIndex = 65_535

  /// Why a list could not be read; the text completes a sentence such as `--bind core:x: ...`.
  struct Malformed: Error {
    let reason: String
  }

  /// The numbers in the order they are listed.
  static func parse(_ text: some StringProtocol) throws(Malformed) -> [Int] {
    guard !text.isEmpty else { throw Malformed(reason: "the list of numbers is empty") }
    var indices: [Int] = []
    var seen = CPUSet()
    for item in text.split(separator: ",", omittingEmptySubsequences: false) {
      for index in try parseRange(item) {
        guard seen.insert(index) else {
          throw Malformed(reason: "\(index) is listed twice")
        }
        indices.append(index)
      }
    }
    return indices
  }

  private static func parseRange(
    _ item: some StringProtocol
  ) throws(Malformed) -> ClosedRange<Int> {
    let ends = item.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    let first = try parseIndex(ends[0], in: item)
    let last = ends.count == 2 ? try parseIndex(ends[1], in: item) : first
    guard first <= last else {
      throw Malformed(reason: "the range '\(item)' runs backwards; write \(last)-\(first)")
    }
    return first...last
  }

  private static func parseIndex(
    _ digits: some StringProtocol, in item: some StringProtocol
  ) throws(Malformed) -> Int {
    // Int(_:) alone would take "+1".
    guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
      throw Malformed(reason: "'\(item)' is neither a number such as 0 nor a range such as 0-3")
    }
    guard let index = Int(digits), index <= largestIndex else {
      throw Malformed(reason: "\(digits) is above the largest number, \(largestIndex)")
    }
    return index
  }

  /// `[0, 1, 2, 5]` as `0-2,5`. The order is kept, so that `parse` gives the same list back.
  static func format(_ indices: some Sequence<Int>) -> String {
    var runs: [ClosedRange<Int>] = []
    for index in indices {
      if let run = runs.last, index == run.upperBound + 1 {
        runs[runs.count - 1] = run.lowerBound...index
      } else {
        runs.append(index...index)
      }
    }
    return runs.map { run in
      run.count == 1 ? "\(run.lowerBound)" : "\(run.lowerBound)-\(run.upperBound)"
    }.joined(separator: ",")
  }
}
