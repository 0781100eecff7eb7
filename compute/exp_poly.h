// The one exponential of the program: constants and steps.
//
// Vector versions follow these steps lane by lane and so give the bits of
// Exp() in compute/ops.h. All values float32, fma rounds once, everything in
// the default rounding mode (nearest even), subnormals kept.
//
//   1. t = fma(x, kExpLog2E, kExpMagic)     the low bits of t now hold n
//   2. n = t - kExpMagic                    n = nearest even integer to x * log2(e)
//   3. r = fma(-n, kExpLn2Hi, x)            exact
//      r = fma(-n, kExpLn2Lo, r)            |r| <= 0.3467
//   4. p = kExpC6
//      p = fma(p, r, kExpC5), then kExpC4, kExpC3, kExpC2, kExpC1, kExpC0
//   5. y = float(bits(p) + (bits(t) << 23)) as 32-bit integers that wrap:
//      adds n to the exponent of p. The result is normal for all x in range.
//   6. x < kExpMin: y = +0.  x > kExpMax: y = +inf.  x is NaN: y = x.
//      (-inf and +inf fall under the first two.)
//
// Steps 1 to 5 run for every x and may produce rubbish outside the range; step
// 6 selects. Step 1 is one fma, not a product and a sum.
#ifndef SLUICE_COMPUTE_EXP_POLY_H_
#define SLUICE_COMPUTE_EXP_POLY_H_

namespace sluice {

inline constexpr float kExpMin = -87.3f;
inline constexpr float kExpMax = 88.7f;
inline constexpr float kExpLog2E = 0x1.715476p+0f;
inline constexpr float kExpMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
// ln 2 in two parts; the first has 15 bits, so its product with n is exact.
inline constexpr float kExpLn2Hi = 0x1.62e4p-1f;
inline constexpr float kExpLn2Lo = 0x1.7f7d1cp-20f;
// Minimax of relative error on |r| <= 0.3468, 4.6e-9 before rounding.
inline constexpr float kExpC0 = 1.0f;
inline constexpr float kExpC1 = 1.0f;
inline constexpr float kExpC2 = 0x1.fffffcp-2f;
inline constexpr float kExpC3 = 0x1.555490p-3f;
inline constexpr float kExpC4 = 0x1.5558f4p-5f;
inline constexpr float kExpC5 = 0x1.123a36p-7f;
inline constexpr float kExpC6 = 0x1.6a23a4p-10f;

}  // namespace sluice

#endif  // SLUICE_COMPUTE_EXP_POLY_H_
