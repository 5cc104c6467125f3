import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// The keys that mask and bias leave visible to one query row at a time, one bit a key.
///
/// Owns the bits of the row it read last: for one thread.
final class VisibleKeys {
  /// 64-bit words of a row.
  let words: Int
  /// Whether a key is visible; no key beyond the last is.
  private(set) var visible: [UInt64]
  /// Whether a key is visible and nothing is added to its score; keys beyond the last count as such.
  private(set) var plain: [UInt64]
  private let rule: BiasRule
  private let keyLength: Int
  private let functions: UnsafePointer<attn_kernels>

  init(_ rule: BiasRule, _ keyLength: Int, _ kernels: KernelTable) {
    self.rule = rule
    self.keyLength = keyLength
    functions = kernels.functions
    words = (keyLength + 63) / 64
    visible = Array(repeating: 0, count: words)
    plain = visible
  }

  /// Reads a row of the mask and the bias.
  func read(_ batch: Int, _ head: Int, _ row: Int) {
    var source = rule.row(batch, head, row, position: 0)
    functions.pointee.key_bits(&source, Int64(keyLength), &visible, &plain)
    if keyLength % 64 > 0 { plain[words - 1] |= ~0 << UInt64(keyLength % 64) }
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
  /// The pairs of one head.
  func pairs(_ pattern: any KeyPattern, batch: Int, head: Int) -> Int {
    var total = 0
    for row in 0..<pattern.geometry.queryLength {
      if row == 0 || rule.axes?.rows ?? 1 > 1 { read(batch, head, row) }
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
