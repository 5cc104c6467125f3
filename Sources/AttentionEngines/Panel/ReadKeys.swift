import AttentionContract
import AttentionKernels
import Tensors

/// Which keys the queries of a problem read under a pattern, between them.
extension KeyPattern {
  /// How many different keys some query row sees.
  ///
  /// - Complexity: O(nQ log nQ + nKV) for each pass.
  var readKeyCount: Int {
    var isRead = [Bool](repeating: false, count: max(0, geometry.keyLength))
    for (pass, stride) in rowStrides.enumerated() {
      let positions = (0..<geometry.queryLength).map { $0 + geometry.offset }
      let classes = Dictionary(grouping: positions) { (($0 % stride) + stride) % stride }
      for (residue, positions) in classes {
        for (index, sequence) in sequences(pass: pass, residue: residue).enumerated() {
          let ranges = positions.map { range(pass: pass, sequence: index, position: $0) }
            .filter { !$0.isEmpty }.sorted { $0.lowerBound < $1.lowerBound }
          var next = 0
          for range in ranges where range.upperBound > next {
            for place in max(next, range.lowerBound)..<range.upperBound {
              isRead[sequence.key(place)] = true
            }
            next = range.upperBound
          }
        }
      }
    }
    return isRead.count { $0 }
  }
}

extension AttentionProblem {
  /// The bytes that must be moved at least under patterns, one a batch entry: all rows of queries and
  /// output in use, and of keys and values those that some query sees.
  package func minimumBytes(under patterns: [any KeyPattern]) -> Int {
    var known: [MaskGeometry: Int] = [:]
    let unread = patterns.reduce(0) { total, pattern in
      let geometry = pattern.geometry
      let unread = known[geometry] ?? max(0, geometry.keyLength - pattern.readKeyCount)
      known[geometry] = unread
      return total + unread
    }
    let rowBytes =
      storage.keyValue.rowBytes(columns: shape.headDim)
      + storage.keyValue.rowBytes(columns: shape.valueDim)
    return minimumBytes - unread * shape.kvHeads * rowBytes
  }
}
