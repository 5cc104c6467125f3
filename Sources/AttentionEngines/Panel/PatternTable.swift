import AttentionContract
import AttentionKernels
import Tensors

/// A key pattern read out for every query row of one geometry, so that a run looks nothing up
/// through the protocol.
struct PatternTable: Sendable {
  /// One pass over the query rows; passes run one after the other.
  struct Pass: Sendable {
    /// Distance between query rows that travel together: row `i` belongs to class `i` modulo it.
    let rowStride: Int
    /// Classes that have rows: no more than there are rows, however long the stride.
    let classCount: Int
    /// Key sequences of each class, `[classCount][sequenceCount]`.
    let sequences: [KeySequence]
    /// Key sequences of one class.
    let sequenceCount: Int
    /// First place a row sees, `[sequenceCount][nQ]`.
    let lower: [Int32]
    /// First place it no longer sees, `[sequenceCount][nQ]`; never below `lower`.
    let upper: [Int32]
  }

  let geometry: MaskGeometry
  let passes: [Pass]

  init(_ pattern: any KeyPattern) {
    let geometry = pattern.geometry
    self.geometry = geometry
    passes = pattern.rowStrides.enumerated().map { pass, rowStride in
      let classes = (0..<min(rowStride, geometry.queryLength)).map { firstRow in
        let residue = (firstRow + geometry.offset) % rowStride
        return pattern.sequences(
          pass: pass, residue: residue < 0 ? residue + rowStride : residue)
      }
      // An entry of a packed batch may have no rows, and then no classes.
      let sequenceCount = classes.first?.count ?? 0
      precondition(
        classes.allSatisfy { $0.count == sequenceCount },
        "a key pattern must have the same number of sequences for every residue")
      var lower: [Int32] = []
      var upper: [Int32] = []
      lower.reserveCapacity(sequenceCount * geometry.queryLength)
      upper.reserveCapacity(sequenceCount * geometry.queryLength)
      for index in 0..<sequenceCount {
        for row in 0..<geometry.queryLength {
          let range = pattern.range(
            pass: pass, sequence: index, position: row + geometry.offset)
          lower.append(Int32(range.lowerBound))
          upper.append(Int32(range.upperBound))
        }
      }
      return Pass(
        rowStride: rowStride, classCount: classes.count, sequences: classes.flatMap { $0 },
        sequenceCount: sequenceCount, lower: lower, upper: upper)
    }
  }

  /// Bytes of the look-up tables a pattern with these passes needs.
  static func bytes(_ pattern: any KeyPattern) -> Int {
    pattern.rowStrides.enumerated().reduce(0) { sum, pass in
      let count = pattern.sequences(pass: pass.offset, residue: 0).count
      return sum + count
        * (pattern.geometry.queryLength * 2 * MemoryLayout<Int32>.stride
          + min(pass.element, pattern.geometry.queryLength) * MemoryLayout<KeySequence>.stride)
    }
  }

  /// Query rows `firstRow`, `firstRow + rowStride`, ...: how many there are.
  func rowCount(pass: Int, firstRow: Int) -> Int {
    (geometry.queryLength - firstRow - 1) / passes[pass].rowStride + 1
  }
}
