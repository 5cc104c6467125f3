import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// The keys that mask and bias leave visible to one query row at a time, one bit a key.
///
/// Owns the bits of the row it read last: for one thread.
package final class VisibleKeys {
  /// The rows that mask and bias tell apart: an axis along which both are broadcast has size 1.
  struct Axes: Sendable, Hashable {
    let batch: Int
    let heads: Int
    let rows: Int

    /// Nil where there is no mask and no bias.
    init?(_ problem: AttentionProblem) {
      let shapes = [problem.visibility.mask?.shape, problem.visibility.bias?.shape].compactMap {
        $0
      }
      if shapes.isEmpty { return nil }
      batch = shapes.reduce(1) { max($0, $1.batch) }
      heads = shapes.reduce(1) { max($0, $1.heads) }
      rows = shapes.reduce(1) { max($0, $1.rows) }
    }

    /// How many rows there are.
    var rowCount: Int { batch * heads * rows }

    /// Place of a row among them.
    @inline(__always)
    func index(_ batch: Int, _ head: Int, _ row: Int) -> Int {
      let batch = self.batch == 1 ? 0 : batch
      let head = heads == 1 ? 0 : head
      return (batch * heads + head) * rows + (rows == 1 ? 0 : row)
    }
  }

  /// 64-bit words of a row.
  let words: Int
  /// Whether a key is visible; no key beyond the last is.
  let visible: UnsafeMutablePointer<UInt64>
  /// Whether a key is visible and nothing is added to its score; keys beyond the last count as such.
  let plain: UnsafeMutablePointer<UInt64>
  private let problem: AttentionProblem
  private let functions: UnsafePointer<attn_kernels>

  init(_ problem: AttentionProblem, kernels: KernelTable) {
    self.problem = problem
    functions = kernels.functions
    words = (problem.shape.keyLength + 63) / 64
    visible = .allocate(capacity: 2 * words)
    visible.initialize(repeating: 0, count: 2 * words)
    plain = visible + words
  }

  deinit { visible.deallocate() }

  /// Reads a row of the mask and the bias.
  func read(_ batch: Int, _ head: Int, _ row: Int) {
    let keys = problem.shape.keyLength
    // A missing column hides its key.
    let count = min(
      problem.visibility.mask?.shape.columns ?? keys, problem.visibility.bias?.shape.columns ?? keys
    )
    let read = (count + 63) / 64
    functions.pointee.key_bits(
      problem.visibility.mask?.row(batch, head, row),
      problem.visibility.bias?.row(batch, head, row), Int64(count),
      visible, plain)
    (visible + read).update(repeating: 0, count: words - read)
    (plain + read).update(repeating: 0, count: words - read)
    if keys % 64 > 0 { plain[words - 1] |= ~0 << UInt64(keys % 64) }
  }

  /// How many keys of a range are visible.
  func count(in keys: Range<Int>) -> Int {
    if keys.isEmpty { return 0 }
    let (first, last) = (keys.lowerBound / 64, (keys.upperBound - 1) / 64)
    var total = 0
    for word in first...last {
      var bits = visible[word]
      if word == first { bits &= ~0 << UInt64(keys.lowerBound % 64) }
      if word == last { bits &= ~0 >> UInt64(63 - (keys.upperBound - 1) % 64) }
      total += bits.nonzeroBitCount
    }
    return total
  }

  /// How many keys at some places of a sequence are visible.
  func count(of sequence: KeySequence, places: Range<Int>) -> Int {
    if sequence.isConsecutive {
      return count(
        in: sequence.start + places.lowerBound..<sequence.start + places.upperBound)
    }
    return places.reduce(0) { total, place in
      let key = sequence.key(place)
      return total + Int(visible[key / 64] >> UInt64(key % 64) & 1)
    }
  }
}

extension VisibleKeys {
  /// The pairs that patterns, one a batch entry, and a problem's mask and bias leave, over all
  /// heads; nil where there is no mask and no bias.
  ///
  /// - Complexity: reads mask and bias once for each batch entry.
  package static func pairs(
    of problem: AttentionProblem, patterns: [any KeyPattern], kernels: KernelTable
  ) -> Int? {
    guard let axes = Axes(problem) else { return nil }
    let keys = VisibleKeys(problem, kernels: kernels)
    var known: [MaskGeometry: Int] = [:]
    var total = 0
    for (batch, pattern) in patterns.enumerated() {
      if axes.batch == 1, let pairs = known[pattern.geometry] {
        total += pairs
        continue
      }
      var pairs = 0
      for head in 0..<axes.heads { pairs += keys.pairs(pattern, batch: batch, head: head, axes) }
      pairs *= problem.shape.heads / axes.heads
      known[pattern.geometry] = pairs
      total += pairs
    }
    return total
  }

  /// The pairs of one head.
  private func pairs(
    _ pattern: any KeyPattern, batch: Int, head: Int, _ axes: Axes
  ) -> Int {
    var total = 0
    for row in 0..<pattern.geometry.queryLength {
      if row == 0 || axes.rows > 1 { read(batch, head, row) }
      let position = row + pattern.geometry.offset
      for (pass, stride) in pattern.rowStrides.enumerated() {
        let residue = ((position % stride) + stride) % stride
        for (index, sequence) in pattern.sequences(pass: pass, residue: residue).enumerated() {
          let places = pattern.range(pass: pass, sequence: index, position: position)
          total += count(of: sequence, places: places)
        }
      }
    }
    return total
  }
}

extension KeySequence {
  /// Whether each place's key is the one after the place before's.
  var isConsecutive: Bool { run == period }
}
