import MachineTopology
import Testing

@Suite("Sets of processing units")
struct CPUSetTests {
  @Test(
    arguments: [
      ([], "none"), ([0], "0"), ([1, 0], "0-1"), ([0, 2, 3, 63, 64, 65, 200], "0,2-3,63-65,200"),
    ] as [([Int], String)])
  func `a set prints as Linux writes it`(indices: [Int], printed: String) {
    let set = CPUSet(indices)
    #expect(set.description == printed)
    #expect(set.indices == indices.sorted())
    #expect(set.count == indices.count)
    #expect(set.isEmpty == indices.isEmpty)
  }

  @Test func `membership reaches beyond one word`() {
    let set = CPUSet([3, 130])
    #expect(set.contains(3) && set.contains(130))
    for outside in [-1, 0, 2, 4, 67, 129, 131, 192, 100_000] { #expect(!set.contains(outside)) }
  }

  @Test func `a second insertion is noticed`() {
    var set = CPUSet()
    let isNew = [set.insert(70), set.insert(70)]
    #expect(isNew == [true, false])
    #expect(set == CPUSet([70]))
  }

  @Test func `sets of different lengths combine`() {
    let (low, high) = (CPUSet([0, 1, 5]), CPUSet([1, 5, 300]))
    #expect(low.union(high) == CPUSet([0, 1, 5, 300]))
    #expect(high.union(low) == CPUSet([0, 1, 5, 300]))
    #expect(low.intersection(high) == CPUSet([1, 5]))
    #expect(high.intersection(low) == CPUSet([1, 5]))
    #expect(high.intersection(CPUSet([0])).isEmpty)
    #expect(CPUSet([1, 5]).isSubset(of: high) && CPUSet().isSubset(of: low))
    #expect(!high.isSubset(of: low))
  }
}
