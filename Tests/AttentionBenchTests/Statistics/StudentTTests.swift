import AttentionBench
import Testing

@Suite("Student's t")
struct StudentTTests {
  /// Abramowitz and Stegun, table 26.10.
  @Test(
    "Two-sided bounds are those of the tables",
    arguments: [
      (1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (6, 2.447), (7, 2.365),
      (10, 2.228), (15, 2.131), (30, 2.042), (60, 2.000), (120, 1.980),
    ])
  func table(degrees: Int, bound: Double) {
    #expect(abs(StudentT.bound(degrees: degrees) - bound) < 5.1e-4)
  }

  @Test("Other levels, and the normal distribution as the limit")
  func levels() {
    #expect(abs(StudentT.bound(degrees: 1, confidence: 0.5) - 1) < 1e-12)
    #expect(abs(StudentT.bound(degrees: 4, confidence: 0.99) - 4.604) < 5.1e-4)
    #expect(abs(StudentT.bound(degrees: 100_000) - 1.960) < 5e-4)
  }
}
