/// Finds what a user probably meant.
package enum NearestName {
  /// Up to `limit` of `candidates` close enough to `name` to be a slip of the fingers, nearest
  /// first, in the given order where equally near.
  ///
  /// Close enough is a third of the longer name's letters, at least one, or a candidate that
  /// continues `name`.
  package static func suggestions(
    for name: String, among candidates: some Sequence<String>, limit: Int = 1
  ) -> [String] {
    let wanted = Array(name.lowercased())
    let rated = candidates.compactMap { candidate -> (name: String, distance: Int)? in
      let letters = Array(candidate.lowercased())
      let allowed = max(1, max(wanted.count, letters.count) / 3)
      let isContinued = !wanted.isEmpty && letters.starts(with: wanted)
      // Names are at least as far apart as their lengths: most keys of a checkpoint end here.
      guard abs(letters.count - wanted.count) <= allowed else {
        return isContinued ? (candidate, allowed) : nil
      }
      let distance = editDistance(wanted, letters)
      return distance <= allowed ? (candidate, distance) : nil
    }
    let order = rated.enumerated().sorted { a, b in
      (a.element.distance, a.offset) < (b.element.distance, b.offset)
    }
    return order.prefix(limit).map(\.element.name)
  }

  /// The least number of insertions, deletions, substitutions and swaps of neighbours that turn
  /// `a` into `b` (optimal string alignment; Damerau 1964). O(|a| |b|) time, O(|b|) space.
  static func editDistance(_ a: [Character], _ b: [Character]) -> Int {
    var beforeLast = [Int](repeating: 0, count: b.count + 1)
    var last = Array(0...b.count)
    for i in a.indices {
      var row = [i + 1]
      row.reserveCapacity(b.count + 1)
      for j in b.indices {
        var cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
          cost = min(cost, beforeLast[j - 1] + 1)
        }
        row.append(cost)
      }
      (beforeLast, last) = (last, row)
    }
    return last[b.count]
  }
}
